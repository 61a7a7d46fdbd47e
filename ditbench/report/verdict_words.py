"""The sentences of a verdict: the answer first, then what it rests on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ditbench.report.amounts import duration
from ditbench.report.words import differences_in_words, listed

if TYPE_CHECKING:
    from ditbench.report.statistics.looks import Unplanned
    from ditbench.report.statistics.paired import Interval, Paired
    from ditbench.report.statistics.power import Planning
    from ditbench.report.statistics.verdict import Verdict

# With fewer seeds the verdict says how few they are: a t test assumes normally distributed
# differences, and so few values cannot confirm it.
FEW_SEEDS = 5
# A list of blocks that the leader is not significantly better than names so many.
_MOST_NAMED = 4


def forced(differences: Mapping[str, Sequence[Any]]) -> str:
    """What stands in place of a verdict where one ranking was forced."""
    differ = differences_in_words(differences)
    return f"Forced: these runs differ in {differ}, so no winner is named."


def verdict_sentence(
    verdict: Verdict, title: str, write: Callable[[float], str] = "{:.2f}".format
) -> str:
    """The verdict in words.

    Args:
        verdict: of a metric of which lower values are better.
        title: that of the metric, such as `FID-2K`.
        write: how its values are written.
    """
    mean = f"{'geometric mean' if verdict.scale == 'log' else 'mean'} {title}"
    value = write(verdict.value)
    if not verdict.rivals:
        return (
            f"Only {verdict.leader} was run ({mean} {value}); "
            "`ditbench run --block paper` adds blocks to compare it with."
        )
    if verdict.unplanned is not None:
        why = _why_exploratory(verdict.unplanned)
        return f"No winner, since this is exploratory: {why}. {_leads(verdict, mean, value)}."
    if verdict.seeds < 2:
        return f"{_leads(verdict, mean, value)}. {_too_few_seeds(verdict)}"
    if verdict.best is None:
        text = _no_winner(verdict, mean, value)
    elif verdict.unequal_spikes:
        text = _spikes(verdict, mean, value)
    else:
        text = _winner(verdict, mean, value)
    if verdict.equivalent:
        level = percent(1 - 2 * verdict.alpha)
        text += (
            f" Equivalent to {verdict.leader}: {listed(verdict.equivalent)} "
            f"({level} interval of the ratio within 0.95 to 1.05)."
        )
    if verdict.seeds < FEW_SEEDS:
        text += (
            f" With {verdict.seeds} seeds, the t test assumes normally distributed differences, "
            f"which so few cannot confirm: use --seeds {FEW_SEEDS} for a firmer result."
        )
    return text


def percent(level: float) -> str:
    """`95%`, `97.2%`."""
    return f"{100 * level:.3g}%"


def _leads(verdict: Verdict, mean: str, value: str) -> str:
    """Which block leads, and the distance of the next, without a test."""
    second = verdict.rivals[0]
    lead = f"{verdict.leader} has the lowest {mean}, {value}"
    if second.paired.n:
        lead += f"; the next, {second.block}, {_has_times(second.paired)}"
    return lead


def _too_few_seeds(verdict: Verdict) -> str:
    alone = [rival for rival in verdict.rivals if rival.paired.n < 2]
    why = "One seed cannot separate a difference from noise"
    if len(alone) < len(verdict.rivals) or any(rival.paired.n == 0 for rival in alone):
        blocks = ", ".join(f"{rival.block} ({rival.paired.n})" for rival in alone)
        why = f"It shares fewer than two seeds with {blocks}"
    return f"{why}, so no winner is named: run more, --seeds {FEW_SEEDS}."


def _why_exploratory(found: Unplanned) -> str:
    if found.other:
        why = f"{found.block} shares {found.seeds} of its {found.planned} seeds with {found.other}"
        how = "run the same seeds for all blocks"
    elif found.seeds < found.planned:
        why = f"{found.block} has {found.seeds} of {found.planned} planned seeds"
        how = "repeat the same `ditbench run` to run the others"
    else:
        why = f"{found.block} has {found.seeds} seeds where {found.planned} were planned"
        how = f"plan a larger number at once, such as --seeds {found.seeds + found.planned}"
    return f"{why} ({how})"


def _winner(verdict: Verdict, mean: str, value: str) -> str:
    second, others = verdict.rivals[0], len(verdict.rivals)
    text = (
        f"{verdict.leader} leads with a {mean} of {value}; the next, "
        f"{second.block}, {_has_times(second.paired)}"
    )
    if others == 1:
        text += _interval(second.paired.uncorrected, verdict.alpha)
        return f"{text}. The difference is significant: {_test(verdict)}."
    if verdict.scale == "log":
        least = min(rival.paired.uncorrected.low for rival in verdict.rivals)
        text += (
            f", and each of the {others} others at least {least:#.3g} times "
            f"({percent(1 - verdict.alpha)} confidence)"
        )
    return f"{text}. It is significantly better than each of them: {_test(verdict)}."


def _test(verdict: Verdict) -> str:
    """What a winner rests on."""
    worst = max(rival.p_value for rival in verdict.rivals)
    p = ("at most " if len(verdict.rivals) > 1 and worst >= 0.001 else "") + p_in_words(worst)
    return f"paired t test over {verdict.seeds} seeds, p {p}{_needed(verdict)}"


def _needed(verdict: Verdict) -> str:
    """The level of the test, if it is not 5%."""
    if len(verdict.looks) < 2:
        return ""
    looks = listed([str(look) for look in verdict.looks])
    return f" (needed: {verdict.alpha:.2g}, since looks at {looks} seeds share 5%)"


def _no_winner(verdict: Verdict, mean: str, value: str) -> str:
    near = [rival for rival in verdict.rivals if not rival.significant]
    blocks = [
        f"{rival.block} ({_times(rival.paired)}"
        f"{_interval(rival.paired.ratio_interval, verdict.alpha)}, "
        f"p {p_in_words(rival.p_bonferroni)})"
        for rival in near[:_MOST_NAMED]
    ]
    if len(near) > _MOST_NAMED:
        blocks.append(f"{len(near) - _MOST_NAMED} more")
    corrected = ", Bonferroni-corrected" if len(verdict.rivals) > 1 else ""
    return (
        f"No block is significantly best: {verdict.leader} has the lowest {mean}, "
        f"{value}, but it is not significantly better than {listed(blocks)}; "
        f"paired t test over {verdict.seeds} seeds{corrected}{_needed(verdict)}."
    )


def _spikes(verdict: Verdict, mean: str, value: str) -> str:
    blocks = [
        f"{rival.block} had spikes in {rival.spiked} of {rival.paired.n} runs, {verdict.leader} in "
        f"{rival.leader_spiked}"
        for rival in verdict.unequal_spikes
    ]
    return (
        f"No winner, since loss spikes may have decided: {_leads(verdict, mean, value)}. The "
        f"difference is significant ({_test(verdict)}), but {listed(blocks)}."
    )


def _times(pair: Paired) -> str:
    if math.isnan(pair.ratio):  # a mean of 0 or less has no ratio
        return f"{pair.difference:+.3g}"
    return "the same" if pair.ratio == 1 else f"{pair.ratio:#.3g} times that"


def _has_times(pair: Paired) -> str:
    return f"{'differs by' if math.isnan(pair.ratio) else 'has'} {_times(pair)}"


def _interval(interval: Interval, alpha: float) -> str:
    low, high = interval
    if not math.isfinite(low):
        return ""
    return f", {percent(1 - alpha)} interval {low:#.3g} to {high:#.3g}"


def p_in_words(value: float) -> str:
    """Two digits, and never zero."""
    return "unknown" if math.isnan(value) else f"{value:.2g}" if value >= 0.001 else "below 0.001"


def seeds_sentence(planning: Planning) -> str:
    """How many seeds a winner would take, below a verdict that names none."""
    seeds = {effect: planning.seeds(effect, 0.8) for effect in (0.05, 0.1, 0.2)}
    written = {
        effect: f"over {planning.most:,}" if number is None else number
        for effect, number in seeds.items()
    }
    text = (
        f"With this scatter ({planning.noise:.1%} between runs of a seed), {written[0.1]} seeds "
        f"would name {planning.leader} the winner in 80% of cases if it is 10% better "
        f"(5% better: {written[0.05]}, 20%: {written[0.2]})"
    )
    seconds = planning.seconds_of(seeds[0.1])
    if seeds[0.1] and math.isfinite(seconds):
        number = seeds[0.1] - planning.at_hand
        text += (
            f". For 10%, add {number} seed{'s' * (number > 1)} of {planning.blocks} blocks: "
            f"about {duration(seconds)} on {planning.device}"
        )
    return f"{text}. `ditbench compare --plan` shows more."


def planning_sentence(planning: Planning) -> str:
    """What the table of `ditbench compare --plan` shows, and what it assumes."""
    looks = [str(look) for look in sorted({*planning.looks, planning.at_hand}) if look > 1]
    text = (
        f"Seeds that it takes to name {planning.leader} the winner if its FID is that much better "
        f"than those of {listed(planning.rivals)}. The scatter is {planning.noise:.1%} between "
        f"runs of a seed; – is above {planning.most:,} seeds. The 5% are shared by looks at "
        f"{listed(looks)} seeds and at this number."
    )
    if math.isfinite(planning.seconds):
        text += f" Times are those of the additional seeds, on {planning.device}."
    return text


def effect_in_words(planning: Planning, effect: float) -> str:
    """`10%`, or `3.1%, the end of the interval`."""
    if effect == planning.nearest:
        return f"{effect:.1%}, the end of the interval"
    return f"{effect:.0%}"
