"""How many seeds were planned, and what a test may cost that is made more than once.

A comparison is decided at the number of seeds that was planned for it, which env.json of each run
records. A user who adds seeds until a difference is significant finds one sooner or later, though
there is none. So the 5% are spent over all numbers of seeds at which the comparison was planned to
be decided (its looks), by a constant nominal level (Pocock 1977).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ditbench.report.statistics.paired import ALPHA

if TYPE_CHECKING:
    import pandas as pd

_SEQUENCES = 2**17


class Unplanned(NamedTuple):
    """Why a comparison is exploratory: `block` has another number of seeds than was planned."""

    block: str
    seeds: int
    planned: int
    other: str = ""  # a block that has its number, but shares only so many seeds
    further: int = 0  # how many other blocks lack seeds, if `block` does


@dataclass(frozen=True)
class SeedPlan:
    """The numbers of seeds at which a comparison is decided, ascending."""

    looks: tuple[int, ...] = ()
    unplanned: Unplanned | None = None

    @property
    def alpha(self) -> float:
        """The level of each test."""
        return nominal_level(self.looks)


def plan_of(final: pd.DataFrame) -> SeedPlan:
    """The plan of the final rows of comparable runs, from `block`, `seed` and `planned_seeds`."""
    runs = final.groupby("block", sort=False)
    planned = {str(b): dict(zip(r["seed"], r["planned_seeds"], strict=True)) for b, r in runs}
    return read_plan(planned)


def read_plan(planned: Mapping[str, Mapping[int, float]]) -> SeedPlan:
    """The plan of blocks, from the number that was planned by seed; NaN if it is not recorded.

    Of a block without records the number of seeds that is there counts as planned. In others, the
    seeds of earlier plans (or without a record) were there to be looked at when the last one was
    made: their number is a look, too.
    """
    looks: set[int] = set()
    unplanned = []
    is_recorded = False
    for block, by_seed in planned.items():
        recorded = {int(number) for number in by_seed.values() if number == number}
        is_recorded |= bool(recorded)
        last = max(recorded, default=len(by_seed))
        earlier = sum(number != last for number in by_seed.values()) if recorded else last
        looks |= {number for number in (*recorded, earlier, last) if 2 <= number <= last}
        if len(by_seed) != last:
            unplanned.append(Unplanned(block, len(by_seed), last))
    if is_recorded:
        unplanned += _unshared(planned)
    return SeedPlan(tuple(sorted(looks)), _first(unplanned))


def _first(unplanned: Sequence[Unplanned]) -> Unplanned | None:
    """The one that is named; if it lacks seeds, with the number of others that do."""
    if not unplanned:
        return None
    lacking = [each for each in unplanned if each.seeds < each.planned and not each.other]
    return unplanned[0]._replace(further=len(lacking) - 1 if unplanned[0] in lacking else 0)


def _unshared(planned: Mapping[str, Mapping[int, float]]) -> Iterator[Unplanned]:
    """The blocks that have a seed that a block with more seeds lacks."""
    for fewer, more in pairwise(sorted(planned, key=lambda block: len(planned[block]))):
        number = len(planned[fewer].keys() & planned[more].keys())
        if number < len(planned[fewer]):
            yield Unplanned(fewer, number, len(planned[fewer]), more)


@cache
def nominal_level(looks: tuple[int, ...]) -> float:
    """The level of paired t tests after these numbers of seeds at which one rejects in 5% of cases.

    Noise model: independent, normally distributed differences (of the logarithms of FID) with mean
    0 and any standard deviation. From a simulation with a fixed seed; its relative error is below
    1%. That a single test rejects is known exactly, so only overlaps of tests are simulated.
    """
    from scipy.special import stdtrit

    if len(looks) < 2:
        return ALPHA
    sizes = np.array(looks)
    statistics = np.abs(_t_statistics(looks))
    low, high = ALPHA / len(looks), ALPHA
    while high - low > 1e-6:
        level = (low + high) / 2
        rejected = (statistics > stdtrit(sizes - 1, 1 - level / 2)[:, None]).sum(axis=0)
        if len(looks) * level - np.maximum(rejected - 1, 0).mean() > ALPHA:
            high = level
        else:
            low = level
    return low


def _t_statistics(looks: tuple[int, ...]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(L, N) t statistics of N growing samples at each look, from sums and sums of squares."""
    generator = np.random.default_rng(0)
    total, squares = np.zeros(_SEQUENCES), np.zeros(_SEQUENCES)
    found = []
    for before, n in pairwise((0, *looks)):
        added = n - before
        mean = generator.standard_normal(_SEQUENCES)  # times the root of their number
        total += mean * added**0.5
        squares += mean**2
        if added > 1:
            squares += generator.chisquare(added - 1, _SEQUENCES)
        deviations = (squares - total**2 / n) / (n - 1)
        found.append(total / np.sqrt(n * deviations))
    return np.stack(found)
