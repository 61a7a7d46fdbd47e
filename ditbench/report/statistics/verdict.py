"""The rule by which a comparison names a winner, for any metric.

The leader is the block of the best mean (on a log scale, as of FID, the geometric one). It is named
the winner if a paired t test finds it significantly better than every other block, on the seeds
that the two share: an intersection-union test. The leader must beat all of them, so the probability
of naming a winner where two blocks are equally good is at most 5% without a correction for the
number of blocks, although the same data selected the leader. Statements about single rivals are
Bonferroni-corrected. docs/statistics.md has measurements of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ditbench.report.statistics.looks import SeedPlan, Unplanned
from ditbench.report.statistics.paired import Paired, Scale, Values, beside, fitting_scale, means

if TYPE_CHECKING:
    import pandas as pd

# A loss spike raises FID by up to so many times: a block that is further behind than that is ranked
# even if it has more spikes.
SPIKED = 1.2


@dataclass(frozen=True)
class Rival:
    """A block that is not the leader, paired with the leader."""

    block: str
    paired: Paired  # this block beside the leader; a ratio above 1 is worse if lower is better
    p_value: float  # of `paired`, but 1 if the leader is the worse one over the shared seeds
    p_bonferroni: float
    significant: bool  # whether the leader is better, Bonferroni-corrected
    spiked: int = 0  # how many of the shared seeds had a loss spike
    leader_spiked: int = 0

    @property
    def more_spikes(self) -> bool:
        """Whether loss spikes may decide: this block has more than the leader, and is near it.

        A leader with more spikes than others leads in spite of them.
        """
        low, high = self.paired.uncorrected
        return self.spiked > self.leader_spiked and not (low > SPIKED or high < 1 / SPIKED)


@dataclass(frozen=True)
class Verdict:
    """What the final values of a metric show."""

    leader: str  # the block of the best mean
    value: float  # that mean, geometric on a log scale
    rivals: tuple[Rival, ...]  # the others, the best first
    alpha: float  # the level of each test; below 5% if there are several looks
    looks: tuple[int, ...] = ()  # the numbers of seeds at which it was planned to be decided
    unplanned: Unplanned | None = None  # why the comparison is exploratory
    scale: Scale = "log"  # whether logarithms were compared

    @property
    def best(self) -> str | None:
        """The leader if it is significantly better than every other block, whatever forbids it."""
        certain = bool(self.rivals) and all(rival.p_value <= self.alpha for rival in self.rivals)
        return self.leader if certain else None

    @property
    def winner(self) -> str | None:
        """`best`, unless the comparison is exploratory or loss spikes may have decided it."""
        return None if self.exploratory or self.more_spikes else self.best

    @property
    def exploratory(self) -> bool:
        """Whether the number of seeds is not the planned one: then no winner is named."""
        return self.unplanned is not None

    @property
    def more_spikes(self) -> tuple[Rival, ...]:
        """The rivals against which loss spikes may decide."""
        return tuple(rival for rival in self.rivals if rival.more_spikes)

    @property
    def equivalent(self) -> tuple[str, ...]:
        """The blocks whose ratio to the leader is certainly between 0.95 and 1.05."""
        if self.exploratory:
            return ()
        found = [each for each in self.rivals if each.paired.equivalent]
        return tuple(each.block for each in found if each.spiked == each.leader_spiked)

    @property
    def seeds(self) -> int:
        """The number of pairs in the comparison that has fewest."""
        return min((rival.paired.n for rival in self.rivals), default=0)


def decide(
    blocks: Sequence[str],
    values: Values,
    *,
    direction: Literal["lower", "higher"] = "lower",
    scale: Scale = "log",
    plan: SeedPlan | None = None,
    spiked: NDArray[np.bool_] | None = None,
) -> Verdict:
    """Apply the rule to the final values of a metric.

    Args:
        blocks: B names.
        values: (B, S), one per block and seed; NaN is a missing one. A block without any is left
            out; one must have some.
        direction: which values are better.
        scale: "log" compares logarithms if all values are above 0, "linear" the values themselves.
        plan: when the comparison is decided; by default once, at this number of seeds.
        spiked: (B, S), whether the loss of a run had a spike; by default none had.
    """
    spiked = np.zeros(values.shape, dtype=np.bool_) if spiked is None else spiked
    there = ~np.isnan(values)
    known = np.flatnonzero(there.any(axis=1)).tolist()
    blocks = [blocks[number] for number in known]
    values, spiked, there = values[known], spiked[known], there[known]
    scale, plan = fitting_scale(values, scale), plan or SeedPlan()
    centres, sign = means(values, scale), 1 if direction == "lower" else -1
    first, *others = np.argsort(sign * centres, kind="stable").tolist()
    pairs = beside(values, first, scale, plan.alpha)
    rivals = []
    for other in others:
        pair = pairs[other]
        p, corrected = pair.p_value, pair.p_bonferroni
        # If blocks have different seeds, the best mean may be due to seeds that others lack.
        behind = sign * (pair.ratio - 1 if scale == "log" else pair.difference)
        if behind < 0 and pair.n > 1:
            p = corrected = 1.0
        shared = there[other] & there[first]
        counts = (int(spiked[each, shared].sum()) for each in (other, first))
        rivals.append(Rival(blocks[other], pair, p, corrected, corrected <= plan.alpha, *counts))
    value, found = float(centres[first]), tuple(rivals)
    return Verdict(blocks[first], value, found, plan.alpha, plan.looks, plan.unplanned, scale)


def leaders_by_rate(df: pd.DataFrame) -> dict[float, str]:
    """Which block leads at which learning rate; empty if the order does not depend on it.

    Two rates count if the leaders of both were run at both and swap places there over the seeds
    that they share. A leader whose rival was not run says nothing. The runs in `df` differ in
    block, seed and learning rate only.
    """
    leaders: dict[float, str] = {}
    fids: dict[float, pd.DataFrame] = {}
    for rate, runs in df[df["final"]].groupby("lr"):
        table = runs.pivot_table(index="seed", columns="block", values="fid", aggfunc="last")
        if len(table.columns) > 1:
            if (table > 0).all(axis=None):
                table = table.apply(np.log)  # as in the verdict
            leaders[rate], fids[rate] = str(table.mean().idxmin()), table  # type: ignore[index]
    swapped = (
        _is_better(leaders[a], leaders[b], fids[a]) and _is_better(leaders[b], leaders[a], fids[b])
        for a, b in combinations(leaders, 2)
    )
    return leaders if any(swapped) else {}


def _is_better(block: str, other: str, fids: pd.DataFrame) -> bool:
    """Whether a block has the lower mean FID over the seeds that the two share."""
    if block == other or not {block, other} <= set(fids.columns):
        return False
    both = fids[[block, other]].dropna()
    return bool(both[block].sum() < both[other].sum())
