"""The rule by which a comparison names a winner.

The leader is the block of the lowest mean FID. It is named the winner if a paired t test finds it
significantly better than every other block, Holm-corrected over these, on the seeds that the two
share. The leader must beat all of them. So the probability of naming a winner where two blocks are
equally good is at most 5% (an intersection-union test), although the same data selected the leader.
docs/statistics.md has measurements of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ditbench.report.statistics.paired import Paired, holm, paired

if TYPE_CHECKING:
    from ditbench.report.statistics.paired import Values

ALPHA = 0.05


@dataclass(frozen=True)
class Rival:
    """A block that is not the leader.

    Attributes:
        block: its name.
        paired: the rival over the leader.
        p_holm: that the leader is better by chance, Holm-corrected.
    """

    block: str
    paired: Paired
    p_holm: float

    @property
    def significant(self) -> bool:
        """Whether the leader is significantly better than this block."""
        return self.p_holm <= ALPHA


@dataclass(frozen=True)
class Verdict:
    """What the final FIDs of like runs show.

    Attributes:
        leader: the block of the lowest mean FID.
        fid: that mean.
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
    """Apply the rule.

    Args:
        blocks: B names.
        fids: (B, S) final FIDs over the same S seeds; NaN if a block lacks a seed.
    """
    means = np.nanmean(fids, axis=1)
    first, *others = np.argsort(means, kind="stable").tolist()
    pairs = [paired(fids[other], fids[first]) for other in others]
    # If blocks have different seeds, the lowest mean may be due to seeds that others lack: the
    # leader may be the worse one over the seeds that two blocks share.
    p_values = [1.0 if pair.difference < 0 and pair.n > 1 else pair.p_value for pair in pairs]
    p_holm = holm(np.array(p_values)).tolist()
    names = [blocks[other] for other in others]
    return Verdict(blocks[first], float(means[first]), tuple(map(Rival, names, pairs, p_holm)))
