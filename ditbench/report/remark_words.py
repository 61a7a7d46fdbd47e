"""The sentences that qualify a verdict. `ditbench.report.words` has the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ditbench.amounts import counted
from ditbench.report.words import listed, seeds_in_words

if TYPE_CHECKING:
    from ditbench.report.reading.metrics import MetricFacts

# Columns of sizes that blocks may differ in, and their names.
SIZES = {"parameters": "parameters", "gmacs": "multiply-accumulates"}

DIFFERENT_SEEDS = "Blocks have different seeds: each difference is over the seeds that both have."
_MOST_DEVICES = 3  # are named


class Detail(str):
    """A note that explains the table or repeats the verdict: a terminal shows it if asked to."""


def other_winners(winners: Mapping[str, Sequence[MetricFacts]]) -> str:
    """`By the same rule, KID and label accuracy name joint.`; empty for no winners."""
    if not winners:
        return ""
    places = [
        f"{listed(list(map(_name, metrics)))} {'name' if len(metrics) > 1 else 'names'} {block}"
        for block, metrics in winners.items()
    ]
    return f"By the same rule, {listed(places)}."


def _name(metric: MetricFacts) -> str:
    """`KID`, `FID (held-out)`, `label accuracy`: a title may be shortened for a table."""
    is_acronym = metric.title[:2].isupper()
    return metric.title if is_acronym else metric.name.replace("_", " ")


def versions(metrics: Sequence[MetricFacts]) -> str:
    """Which metrics are left out because runs have different versions; empty for none."""
    if not metrics:
        return ""
    names = listed(list(map(_name, metrics)))
    return Detail(f"{names[0].upper()}{names[1:]} left out: computed by different versions.")


def unequal_sizes(leader: str, ratios: Mapping[str, tuple[str, float]]) -> str:
    """How much larger the leader is, by size (one of `SIZES`), rival and ratio; may be empty."""
    if not ratios:
        return ""
    parts = [
        f"{ratio:#.3g} times the {SIZES[size]} of {rival}"
        for size, (rival, ratio) in ratios.items()
    ]
    return f"{leader} has {listed(parts)}."


def different_devices(devices: Sequence[str]) -> str:
    """Why times are missing, with the devices of the runs."""
    named = [*devices[:_MOST_DEVICES]]
    if len(devices) > len(named):
        named.append(f"{len(devices) - len(named)} more")
    return Detail(
        "Times, speed and memory are left out: the runs were made on different devices "
        f"({'; '.join(named)})."
    )


def shared_cpu(workers: Iterable[int]) -> str:
    """Why times are missing, with how many runs at a time shared the CPU of each run."""
    several = sorted({number for number in workers if number > 1})
    return Detail(
        "Times and speed are left out: runs shared a CPU "
        f"({listed(list(map(str, several)))} at a time)."
    )


def made_with(versions: Mapping[str, Sequence[str]]) -> str:
    """`Made with ditbench 0.1.0 and 0.2.0, torch 2.11.0 and 2.14.0.`; empty for no packages."""
    parts = [f"{package} {listed(each)}" for package, each in versions.items()]
    return Detail(f"Made with {', '.join(parts)}." if parts else "")


def widths(models: Mapping[str, str]) -> str:
    """Blocks of equal size have models of different widths."""
    listed_models = listed([f"{block} {model}" for block, model in models.items()])
    return (
        f"Models differ in width ({listed_models}): for one seed, blocks share draws, but not "
        "initial weights."
    )


def differ_between_blocks(what: str, values: Mapping[str, str]) -> str:
    """What differs between blocks: `Learning rates differ: adaln 0.001, joint 0.0005.`."""
    return f"{what} differ: {', '.join(f'{block} {value}' for block, value in values.items())}."


def spikes(seeds: Mapping[str, Sequence[int]], runs: int, worst: float, *, clipped: bool) -> str:
    """Which of `runs` runs had a loss spike (seeds by block), and whether all of those clip."""
    where = ", ".join(f"{block} {seeds_in_words(each)}" for block, each in seeds.items())
    means = "a lower --lr" if clipped else "--set train.grad_clip=0.1, or a lower --lr,"
    return (
        f"The loss of {sum(map(len, seeds.values()))} of {runs} runs had a spike ({where}; the "
        f"worst {worst:.1f} times the loss around it), which may have raised their FID: "
        f"{means} can keep spikes small."
    )


def skipped_updates(shares: Mapping[str, float], runs: int) -> str:
    """In how many runs updates were skipped, and the largest share of them by block."""
    worst = ", ".join(f"{block} up to {share:.2g}" for block, share in shares.items())
    return (
        f"{counted(runs, 'run')} skipped updates, because loss or gradient were not finite "
        f"(share of all updates: {worst}): these models had fewer updates than the budget."
    )


def order_by_rate(leaders: Mapping[float, str]) -> str:
    """Which block leads at which learning rate; empty for no leaders."""
    if not leaders:
        return ""
    places = [
        f"at {listed([f'{rate:g}' for rate, each in leaders.items() if each == leader])} {leader}"
        for leader in dict.fromkeys(leaders.values())
    ]
    return (
        f"The order depends on the learning rate: {places[0]} leads, {listed(places[1:])} "
        "(by mean FID, not tested for significance)."
    )
