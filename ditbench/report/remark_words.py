"""The sentences that qualify a verdict. `ditbench.report.words` has the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ditbench.report.words import listed, seeds_in_words

DIFFERENT_SEEDS = (
    "Blocks have different seeds: each difference is over the seeds that both blocks have."
)
DIFFERENT_DEVICES = "Times, speed and memory are left out: the runs were made on different devices."


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
