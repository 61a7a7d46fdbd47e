"""The rule by which a comparison names a winner.

The leader is the block of the lowest mean FID. It is named the winner if a paired t test finds it
significantly better than every other block, Holm-corrected over these, on the seeds that the two
share. The leader must beat all of them. So the probability of naming a winner where two blocks are
equally good is at most 5% (an intersection-union test), although the same data selected the leader.
docs/statistics.md has measurements of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ditbench.report.statistics.paired import Paired, Values, holm, paired

if TYPE_CHECKING:
    import pandas as pd


ALPHA = 0.05


@dataclass(frozen=True)
class Rival:
    """A block that is not the leader, paired with the leader; p values are Holm-corrected."""

    block: str
    paired: Paired
    p_holm: float

    @property
    def significant(self) -> bool:
        """Whether the leader is significantly better than this block."""
        return self.p_holm <= ALPHA


@dataclass(frozen=True)
class Verdict:
    """What the final FIDs of comparable runs show.

    Attributes:
        leader, fid: the block of the lowest mean FID, and that mean.
        rivals: the others, ascending in mean FID.
    """

    leader: str
    fid: float
    rivals: tuple[Rival, ...]

    @property
    def winner(self) -> str | None:
        """The leader if it is significantly better than every other block, or else None."""
        certain = bool(self.rivals) and all(rival.significant for rival in self.rivals)
        return self.leader if certain else None

    @property
    def seeds(self) -> int:
        """The number of pairs in the comparison that has fewest."""
        return min((rival.paired.n for rival in self.rivals), default=0)


def decide(blocks: list[str], fids: Values) -> Verdict:
    """Apply the rule to (B, S) final FIDs of B blocks over S seeds; NaN is a missing seed."""
    means = np.nanmean(fids, axis=1)
    first, *others = np.argsort(means, kind="stable").tolist()
    pairs = [paired(fids[other], fids[first]) for other in others]
    # If blocks have different seeds, the lowest mean may be due to seeds that others lack: the
    # leader may be the worse one over the seeds that two blocks share.
    p_values = [1.0 if pair.difference < 0 and pair.n > 1 else pair.p_value for pair in pairs]
    p_holm = holm(np.array(p_values)).tolist()
    names = [blocks[other] for other in others]
    return Verdict(blocks[first], float(means[first]), tuple(map(Rival, names, pairs, p_holm)))


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
            leaders[rate], fids[rate] = str(table.mean().idxmin()), table  # type: ignore[index]
    swaps = any(
        _is_better(leaders[a], leaders[b], fids[a]) and _is_better(leaders[b], leaders[a], fids[b])
        for a, b in combinations(leaders, 2)
    )
    return leaders if swaps else {}


def _is_better(block: str, other: str, fids: pd.DataFrame) -> bool:
    """Whether a block has the lower mean FID over the seeds that the two share."""
    if block == other or not {block, other} <= set(fids.columns):
        return False
    both = fids[[block, other]].dropna()
    return bool(both[block].sum() < both[other].sum())
