"""How many seeds it takes to name a winner, from the scatter of the runs at hand.

Noise model: the logarithms of FID of a seed's runs differ from what block and seed explain by
independent, normally distributed amounts of equal standard deviation. The test of the leader beside
one rival then has a noncentral t statistic. The leader must beat each of k rivals: if each test
misses with a probability of at most (1 - power) / k, all of them succeed with `power` or more.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ditbench.report.statistics.looks import nominal_level
from ditbench.report.statistics.paired import Values

if TYPE_CHECKING:
    from ditbench.report.statistics.verdict import Verdict

# How much lower the leader's FID is than that of each rival.
EFFECTS = (0.05, 0.1, 0.2)
POWERS = (0.8, 0.9)
# A larger number is not computed.
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Planning:
    """What planning starts from.

    The rivals are those that the leader is not significantly better than, or all if there are none.
    """

    leader: str
    rivals: tuple[str, ...]
    noise: float  # residual standard deviation of the logarithm of FID among these blocks
    at_hand: int  # the seeds that these blocks share; they count as a look
    looks: tuple[int, ...]  # the numbers of seeds at which the comparison was to be decided
    nearest: float  # the effect at the end of a rival's interval that is nearest to a ratio of 1
    blocks: int  # how many a further seed trains
    seconds: float = math.nan  # what a further seed takes; NaN if it is unknown
    device: str = ""

    most = MOST_SEEDS

    def seeds(self, effect: float, power: float) -> int | None:
        """The total number of seeds, at least one more; None if it is above `MOST_SEEDS`."""
        return seeds_needed(
            -math.log(1 - effect), self.noise, power, len(self.rivals), self.at_hand, self.looks
        )

    def seconds_of(self, seeds: int | None) -> float:
        """The time of the seeds that are not there yet; NaN if it is unknown."""
        return math.nan if seeds is None else self.seconds * (seeds - self.at_hand)

    def rows(self) -> list[dict[str, Any]]:
        """The table of `ditbench compare --plan`: one row per effect, the nearest last."""
        rows = []
        for effect in (*EFFECTS, self.nearest):
            row: dict[str, Any] = {"effect": effect}
            for power in POWERS:
                name, seeds = f"{100 * power:.0f}", self.seeds(effect, power)
                row |= {f"seeds_{name}": seeds, f"seconds_{name}": self.seconds_of(seeds)}
            rows.append(row)
        return rows


def planning(
    verdict: Verdict, blocks: list[str], fids: Values, seconds: float, device: str
) -> Planning | None:
    """What planning starts from; None if the runs at hand do not show their scatter.

    The verdict is that on the (B, S) `fids` of B `blocks`, where NaN is a missing seed. One seed of
    all blocks takes so many `seconds` on the `device`.
    """
    rivals = [each for each in verdict.rivals if not each.p_value <= verdict.alpha]
    rivals = rivals or list(verdict.rivals)
    names = [verdict.leader, *(each.block for each in rivals)]
    chosen = fids[[blocks.index(name) for name in names]]
    chosen = chosen[:, ~np.isnan(chosen).any(axis=0)]
    if verdict.scale != "log" or not rivals or chosen.shape[1] < 2:
        return None
    ends = [end for each in rivals for end in each.paired.uncorrected if 0 < end < math.inf]
    nearest = 1 - math.exp(-min((abs(math.log(end)) for end in ends), default=0.0))
    return Planning(
        verdict.leader, tuple(names[1:]), residual_deviation(np.log(chosen)), chosen.shape[1],
        verdict.looks, nearest, len(blocks), seconds, device,
    )  # fmt: skip


def residual_deviation(logs: Values) -> float:
    """The standard deviation of (B, S) values that neither block nor seed explains."""
    blocks, seeds = logs.shape
    effects = logs.mean(axis=1, keepdims=True) + logs.mean(axis=0) - logs.mean()
    return math.sqrt(float(((logs - effects) ** 2).sum()) / ((blocks - 1) * (seeds - 1)))


def seeds_needed(
    log_ratio: float, noise: float, power: float, rivals: int = 1,
    at_hand: int = 0, looks: tuple[int, ...] = (),
) -> int | None:  # fmt: skip
    """The number of seeds, above `at_hand`, at which a leader is named with probability `power`.

    Args:
        log_ratio: the logarithm of each rival's FID over the leader's, above 0.
        noise: residual standard deviation of the logarithm of FID.
        power: the probability.
        rivals: how many rivals are that close.
        at_hand: the seeds that were looked at; None is returned for more than `MOST_SEEDS`.
        looks: the numbers of seeds of earlier looks.
    """
    each = 1 - (1 - power) / rivals
    earlier = {look for look in (*looks, at_hand) if look >= 2}
    candidates = range(max(at_hand + 1, 2), MOST_SEEDS + 1)
    seeds = MOST_SEEDS
    for _ in range(10):  # the level depends on the number of seeds, but little
        level = nominal_level(tuple(sorted({*earlier, seeds})))
        power_of = partial(power_of_test, log_ratio=log_ratio, noise=noise, level=level)
        place = bisect_left(candidates, each, key=power_of)
        if place == len(candidates):
            return None
        if candidates[place] == seeds:
            break
        seeds = candidates[place]
    return seeds


def power_of_test(seeds: int, log_ratio: float, noise: float, level: float) -> float:
    """The probability that a paired t test, two-sided, finds the better block to be better."""
    from scipy.special import nctdtr, stdtrit

    if seeds < 2:
        return 0.0
    if noise == 0:
        return 1.0
    error = noise * math.sqrt(2 / seeds)  # of the mean of differences of two blocks
    return 1 - float(nctdtr(seeds - 1, log_ratio / error, stdtrit(seeds - 1, 1 - level / 2)))
