"""Who leads, by how much and how sure: one sentence, and the rule that it follows.

The leader is the block of the lowest mean FID. It is named the winner when a paired t test tells it
apart from every other block, Holm-corrected over these, and it is the better one over the seeds
that the two share. As the leader must beat them all, naming a winner where two blocks are equally
good has a probability of at most 5% (an intersection-union test), although the leader was picked by
the same data; `ditbench compare --self-test` measures it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ditbench.report.statistics import Paired, holm, paired, paired_p_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ditbench.report.statistics import Values

ALPHA = 0.05
# Below this many, the verdict says how few they are: nothing in them tells whether the deviations
# are normal, on which a t test of so few leans.
FEW_SEEDS = 5


@dataclass(frozen=True)
class Rival:
    """A block beside the leader: how much worse it is, and whether that is sure."""

    block: str
    paired: Paired  # the rival over the leader
    p_holm: float

    @property
    def told_apart(self) -> bool:
        """Whether the leader is better than this one beyond what chance explains."""
        return self.p_holm <= ALPHA


@dataclass(frozen=True)
class Verdict:
    """What the final FIDs of like runs say.

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
        """The leader where it is told apart from every other block, or else None."""
        sure = bool(self.rivals) and all(rival.told_apart for rival in self.rivals)
        return self.leader if sure else None

    @property
    def seeds(self) -> int:
        """The pairs of the comparison that has fewest."""
        return min((rival.paired.n for rival in self.rivals), default=0)


def decide(blocks: list[str], fids: Values) -> Verdict:
    """Apply the rule.

    Args:
        blocks: B names.
        fids: (B, S) final FIDs over the same S seeds; NaN where a block lacks a seed.
    """
    means = np.nanmean(fids, axis=1)
    first, *others = np.argsort(means, kind="stable").tolist()
    p_holm = against_leader(fids)[1]
    rivals = tuple(
        Rival(blocks[other], paired(fids[other], fids[first]), float(p_holm[other]))
        for other in others
    )
    return Verdict(blocks[first], float(means[first]), rivals)


def against_leader(fids: Values) -> tuple[NDArray[np.intp], Values]:
    """The leader, and how sure it is that it is better than each other block.

    Args:
        fids: (..., B, S) final FIDs; leading axes are comparisons of their own.

    Returns:
        The leader's number (...), and (..., B) Holm-corrected p values of the paired t tests of the
        leader against each block: NaN for itself, and for fewer than two pairs; 1 where the leader
        is the worse one over the seeds that both have.
    """
    leader = np.nanmean(fids, axis=-1).argmin(axis=-1)
    reference = np.take_along_axis(fids, leader[..., None, None], axis=-2)
    p_values = paired_p_values(fids, reference)
    # Where blocks have different seeds, the lowest mean may owe it to seeds that others lack.
    worse = np.nansum(fids - reference, axis=-1) < 0
    p_values = np.where(worse & ~np.isnan(p_values), 1.0, p_values)
    np.put_along_axis(p_values, leader[..., None], math.nan, axis=-1)
    return leader, holm(p_values)


def sentence(verdict: Verdict, fid: str) -> str:
    """The verdict in words.

    Args:
        verdict: of `decide`.
        fid: how the metric is called, such as `FID-2K`.
    """
    if not verdict.rivals:
        return (
            f"Only {verdict.leader} was run ({fid} {verdict.fid:.2f}); "
            "`ditbench run --block paper` gives it something to be compared with."
        )
    if verdict.seeds < 2:
        return _of_too_few(verdict, fid)
    tell = _of_no_winner if verdict.winner is None else _of_a_winner
    text = tell(verdict, fid)
    if verdict.seeds < FEW_SEEDS:
        text += (
            f" With {verdict.seeds} seeds the t test leans on normal deviations, "
            f"which so few cannot show: --seeds {FEW_SEEDS} would be firmer."
        )
    return text


def _of_too_few(verdict: Verdict, fid: str) -> str:
    second = verdict.rivals[0]
    lead = f"{verdict.leader} has the lowest {fid}, {verdict.fid:.2f}"
    if second.paired.n:
        lead += f"; the next, {second.block}, {_times(second.paired)}"
    alone = [rival for rival in verdict.rivals if rival.paired.n < 2]
    why = "One seed cannot tell a difference from noise"
    if len(alone) < len(verdict.rivals) or any(rival.paired.n == 0 for rival in alone):
        listed = ", ".join(f"{rival.block} ({rival.paired.n})" for rival in alone)
        why = f"It shares fewer than two seeds with {listed}, which cannot tell them apart"
    return f"{lead}. {why}, so these runs name no winner: run more, --seeds {FEW_SEEDS}."


def _of_a_winner(verdict: Verdict, fid: str) -> str:
    second, *rest = verdict.rivals
    worst = max(rival.p_holm for rival in verdict.rivals)
    text = (
        f"{verdict.leader} leads with a mean {fid} of {verdict.fid:.2f}; "
        f"the next, {second.block}, {_times_with_interval(second)}. "
    )
    test = f"paired t test over {verdict.seeds} seeds"
    if rest:
        others = f"each of the {len(verdict.rivals)} others"
        return text + f"It is told apart from {others}: {test}, Holm-corrected p {_at_most(worst)}."
    return text + f"The difference is beyond chance: {test}, p {_at_most(worst)}."


def _of_no_winner(verdict: Verdict, fid: str) -> str:
    alike = [rival for rival in verdict.rivals if not rival.told_apart]
    listed = ", ".join(
        f"{rival.block} ({_times_with_interval(rival)}, p {_p(rival.p_holm)})" for rival in alike
    )
    corrected = ", Holm-corrected" if len(verdict.rivals) > 1 else ""
    return (
        f"These runs cannot tell which block is best: {verdict.leader} has the lowest mean {fid}, "
        f"{verdict.fid:.2f}, but is not told apart from {listed}; "
        f"paired t test over {verdict.seeds} seeds{corrected}."
    )


def _times(pair: Paired) -> str:
    if math.isnan(pair.ratio):  # beside a mean of 0 or less there is no ratio
        return f"differs by {pair.difference:+.3g}"
    return "has the same" if pair.ratio == 1 else f"has {pair.ratio:#.3g} times that"


def _times_with_interval(rival: Rival) -> str:
    interval = rival.paired.ratio_interval
    text = _times(rival.paired)
    if math.isfinite(interval.low):
        text += f", 95% interval {interval.low:#.3g} to {interval.high:#.3g}"
    return text


def _p(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.2g}" if value >= 0.001 else "below 0.001"


def _at_most(value: float) -> str:
    return f"at most {_p(value)}" if value >= 0.001 else "below 0.001"
