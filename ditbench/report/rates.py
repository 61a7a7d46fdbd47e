"""Whether the order of blocks depends on the learning rate, where several rates are at hand."""

from __future__ import annotations

import math
from itertools import combinations
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    # Learning rate -> block -> seed -> final FID; infinity where training diverged.
    FidsByRate = Mapping[float, Mapping[str, Mapping[int, float]]]


def order_by_rate(fids: FidsByRate) -> str:
    """A sentence that says which block leads at which rate, or nothing where one always does.

    Two rates count when the leaders of both were run at both, and change places there over the
    seeds that they share: a leader that only lacks its rival says nothing.

    Args:
        fids: of runs that differ in block, seed and learning rate alone.
    """
    leaders = {rate: _leader(fids[rate]) for rate in sorted(fids)}
    known = {rate: leader for rate, leader in leaders.items() if leader is not None}
    if not any(
        _is_better(known[a], known[b], fids[a]) and _is_better(known[b], known[a], fids[b])
        for a, b in combinations(known, 2)
    ):
        return ""
    places = [
        f"at {_listed([f'{rate:g}' for rate, leader in known.items() if leader == name])} {name}"
        for name in dict.fromkeys(known.values())
    ]
    return (
        f"The order depends on the learning rate: {places[0]} leads, {_listed(places[1:])} "
        "(by mean FID; that this is not chance was not tested)."
    )


def by_rate(df: pd.DataFrame) -> FidsByRate:
    """The final FIDs of runs that are alike but in block, seed and learning rate."""
    fids: dict[float, dict[str, dict[int, float]]] = {}
    final = df[df["final"]]
    for rate, block, seed, fid in zip(
        *(final[name].tolist() for name in ("lr", "block", "seed", "fid")), strict=True
    ):
        fids.setdefault(rate, {}).setdefault(block, {})[seed] = fid
    return fids


def _leader(blocks: Mapping[str, Mapping[int, float]]) -> str | None:
    """The block of the lowest mean FID; None where nothing was there to be compared with it."""
    means = {block: fmean(fids.values()) for block, fids in blocks.items() if fids}
    if len(means) < 2:
        return None
    leader = min(means, key=lambda block: (means[block], block))
    return leader if math.isfinite(means[leader]) else None


def _is_better(block: str, other: str, blocks: Mapping[str, Mapping[int, float]]) -> bool:
    """Whether a block has the lower mean FID over the seeds that the two share."""
    first, second = blocks.get(block, {}), blocks.get(other, {})
    seeds = first.keys() & second.keys()
    return sum(first[seed] for seed in seeds) < sum(second[seed] for seed in seeds)


def _listed(words: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
