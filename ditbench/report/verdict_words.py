"""The words of a verdict: the answer in one sentence, then what it rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ditbench.amounts import duration
from ditbench.report.remark_words import Detail
from ditbench.report.words import differences_in_words, listed

if TYPE_CHECKING:
    from ditbench.report.statistics.looks import Unplanned
    from ditbench.report.statistics.paired import Paired
    from ditbench.report.statistics.power import Planning
    from ditbench.report.statistics.verdict import Verdict

# With fewer seeds the verdict says how few they are: a t test assumes normally distributed
# differences, and so few values cannot confirm it.
FEW_SEEDS = 5


def forced(differences: Mapping[str, Sequence[Any]]) -> str:
    """What stands in place of a verdict where one ranking was forced."""
    differ = differences_in_words(differences)
    return f"Forced: these runs differ in {differ}, so no winner is named."


def verdict_sentence(verdict: Verdict, title: str, value: str) -> str:
    """The verdict on a metric of which lower is better, in one sentence.

    `title` is that of the metric, such as `FID-2K`, and `value` the leader's mean.
    """
    if not verdict.rivals:
        return f"Only {verdict.leader} was run: {title} {value}."
    nearest = verdict.rivals[0]
    if verdict.winner is not None:
        facts = ", ".join([*_interval(nearest.paired, verdict.alpha), *_test(nearest.paired)])
        return f"{verdict.leader} wins: {title} {value}, {_ahead(verdict)} ({facts})."
    leads = f"No winner: {verdict.leader} leads with {title} {value}"
    ahead = f", {_ahead(verdict)}" if nearest.paired.n else ""
    if verdict.unplanned is not None:
        return f"{leads}{ahead}, but this is exploratory: {_why_exploratory(verdict.unplanned)[0]}."
    if verdict.seeds < 2:
        return f"{leads}{ahead}, but {_too_few_seeds(verdict)}."
    if verdict.best is not None:
        return f"{leads}{ahead}, but loss spikes may have decided."
    near = [rival for rival in verdict.rivals if not rival.significant]
    several = len(verdict.rivals) > 1
    of = f"{len(near)} of {len(verdict.rivals)}, nearest " if several else ""
    facts = ", ".join([_relative(near[0].paired), *_test(near[0].paired, near[0].p_bonferroni)])
    return f"{leads}, not distinguishable from {of}{near[0].block} ({facts})."


def verdict_notes(verdict: Verdict, baseline: str = "") -> list[str]:
    """What the sentence of a verdict rests on, and what to do where it names no winner."""
    if not verdict.rivals:
        return ["`ditbench run --block paper` with its options adds blocks to compare it with."]
    if verdict.unplanned is not None:
        return [f"To decide, {_why_exploratory(verdict.unplanned)[1]}."]
    if verdict.seeds < 2:
        return [f"`--seeds {FEW_SEEDS}` runs more seeds."]
    found = []
    if verdict.best is not None:
        found += _of_best(verdict)
    elif verdict.leader != baseline:
        found.append(f"`--baseline {verdict.leader}` shows each block beside {verdict.leader}.")
    if len(verdict.looks) > 1:
        looks = listed([str(look) for look in verdict.looks])
        found.append(
            Detail(
                f"A difference is significant at p <= {verdict.alpha:.2g}: looks at {looks} seeds "
                "share 5%."
            )
        )
    if verdict.equivalent:
        level = percent(1 - 2 * verdict.alpha)
        found.append(
            f"Equivalent to {verdict.leader}: {listed(verdict.equivalent)} "
            f"({level} interval of the ratio within 0.95 to 1.05)."
        )
    if verdict.seeds < FEW_SEEDS:
        found.append(
            f"{verdict.seeds} seeds are few for t tests, which assume normally distributed "
            f"differences: `--seeds {FEW_SEEDS}` is firmer."
        )
    return found


def _of_best(verdict: Verdict) -> list[str]:
    """By how much a block is better than all others, and which had more loss spikes."""
    spikes = [
        f"{rival.block} had loss spikes in {rival.spiked} of {rival.paired.n} runs, "
        f"{verdict.leader} in {rival.leader_spiked}."
        for rival in verdict.more_spikes
    ]
    if len(verdict.rivals) == 1:
        return spikes
    worst = p_in_words(max(rival.p_value for rival in verdict.rivals))
    least = min(rival.paired.uncorrected.low for rival in verdict.rivals)
    by = f", by at least {_digits(1 - 1 / least)}%" if verdict.scale == "log" else ""
    better = (
        f"Significantly better than each of the {len(verdict.rivals)}{by} "
        f"({percent(1 - verdict.alpha)} confidence): paired t tests over {verdict.seeds} seeds, "
        f"largest p {worst}."
    )
    return [Detail(better), *spikes]


def table_note(baseline: str) -> str:
    """What the intervals and p values of a table are."""
    return Detail(f"Ratios to {baseline} are paired by seed, intervals and p Bonferroni-corrected.")


def percent(level: float) -> str:
    """`95%`, `97.2%`."""
    return f"{100 * level:.3g}%"


def _digits(share: float) -> str:
    """A share in percent, without the sign: `25`, `6.1`, `0.63`."""
    text = f"{100 * share:.2g}"
    return text if "e" not in text else f"{100 * share:.0f}"


def _ahead(verdict: Verdict) -> str:
    """How far the leader is from the next: `25% below adaln, the nearest of 3`."""
    nearest, others = verdict.rivals[0], len(verdict.rivals)
    pair = nearest.paired
    far = _relation(1 / pair.ratio if pair.ratio else math.nan, -pair.difference)
    return f"{far} {nearest.block}" + (f", the nearest of {others}" if others > 1 else "")


def _relative(pair: Paired) -> str:
    """How far a block is from the leader: `26% above`."""
    return _relation(pair.ratio, pair.difference).removesuffix(" to")


def _relation(ratio: float, difference: float) -> str:
    """`25% below`, `6.1% above` or `equal to`; a mean of 0 or less has no ratio."""
    if difference == 0 or ratio == 1:
        return "equal to"
    far = f"{abs(difference):.3g}" if math.isnan(ratio) else f"{_digits(abs(ratio - 1))}%"
    above = difference > 0 if math.isnan(ratio) else ratio > 1
    return f"{far} {'above' if above else 'below'}"


def _interval(pair: Paired, alpha: float) -> list[str]:
    """The interval of how far a winner is below another block: `95% CI 18 to 31%`."""
    low, high = pair.uncorrected
    ends = f"{_digits(1 - 1 / low)} to {_digits(1 - 1 / high)}%"
    return [f"{percent(1 - alpha)} CI {ends}"] if math.isfinite(low) else []


def _test(pair: Paired, p_value: float | None = None) -> tuple[str, str]:
    """The p value of the pair (or a corrected one) and its seeds: `p = 0.004`, `5 seeds`."""
    p = p_in_words(pair.p_value if p_value is None else p_value)
    return f"p {'' if p.startswith('<') else '= '}{p}", f"{pair.n} seeds"


def _too_few_seeds(verdict: Verdict) -> str:
    alone = [rival for rival in verdict.rivals if rival.paired.n < 2]
    if len(alone) < len(verdict.rivals) or any(rival.paired.n == 0 for rival in alone):
        blocks = ", ".join(f"{rival.block} ({rival.paired.n})" for rival in alone)
        return f"it shares fewer than two seeds with {blocks}"
    return "one seed cannot separate a difference from noise"


def _why_exploratory(found: Unplanned) -> tuple[str, str]:
    """Why a comparison is exploratory, and what to do."""
    if found.other:
        return (
            f"{found.block} shares {found.seeds} of its {found.planned} seeds with {found.other}",
            "run the same seeds for all blocks",
        )
    if found.seeds < found.planned:
        more = "another lacks" if found.further == 1 else f"{found.further} more lack"
        others = f", and {more} some" if found.further else ""
        return (
            f"{found.block} has {found.seeds} of {found.planned} planned seeds{others}",
            "repeat the same `ditbench run`: it runs the others",
        )
    return (
        f"{found.block} has {found.seeds} seeds where {found.planned} were planned",
        f"plan a larger number at once, such as `--seeds {found.seeds + found.planned}`",
    )


def p_in_words(value: float) -> str:
    """Two digits, and never zero."""
    return "unknown" if math.isnan(value) else f"{value:.2g}" if value >= 0.001 else "< 0.001"


def seeds_sentence(planning: Planning) -> str:
    """How many seeds a winner would take, below a verdict that names none."""
    seeds = {effect: planning.seeds(effect, 0.8) for effect in (0.1, 0.05, 0.2)}
    most = f"over {planning.most:,}"
    ten, five, twenty = (most if number is None else number for number in seeds.values())
    text = (
        f"{ten} seeds would name {planning.leader} the winner in 80% of cases if it is 10% better "
        f"(5%: {five}, 20%: {twenty})"
    )
    seconds = planning.seconds_of(seeds[0.1])
    if seeds[0.1] and math.isfinite(seconds):
        more = f"{seeds[0.1] - planning.at_hand} more of {planning.blocks} blocks"
        text += f": {more}, about {duration(seconds)} on {planning.device}"
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
