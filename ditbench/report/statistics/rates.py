"""Whether the order of blocks depends on the learning rate."""

from __future__ import annotations

import math
from itertools import combinations
from statistics import fmean
from typing import TYPE_CHECKING

from ditbench.report import words

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    # Learning rate -> block -> seed -> final FID.
    FidsByRate = Mapping[float, Mapping[str, Mapping[int, float]]]


def order_by_rate(fids: FidsByRate) -> str:
    """A sentence that says which block leads at which rate; empty if one always does.

    Two rates count if the leaders of both were run at both and swap places there over the seeds
    that they share. A leader whose rival was not run says nothing.

    Args:
        fids: of runs that differ in block, seed and learning rate only.
    """
    leaders = {rate: _leader(fids[rate]) for rate in sorted(fids)}
    known = {rate: leader for rate, leader in leaders.items() if leader is not None}
    swap = any(
        _is_better(known[a], known[b], fids[a]) and _is_better(known[b], known[a], fids[b])
        for a, b in combinations(known, 2)
    )
    return words.order_depends_on_rate(known) if swap else ""


def by_rate(df: pd.DataFrame) -> FidsByRate:
    """The final FIDs of runs that differ in block, seed and learning rate only."""
    fids: dict[float, dict[str, dict[int, float]]] = {}
    final = df[df["final"]]
    for rate, block, seed, fid in zip(
        *(final[name].tolist() for name in ("lr", "block", "seed", "fid")), strict=True
    ):
        fids.setdefault(rate, {}).setdefault(block, {})[seed] = fid
    return fids


def _leader(blocks: Mapping[str, Mapping[int, float]]) -> str | None:
    """The block of the lowest mean FID; None if there is no other to compare it with."""
    means = {block: fmean(fids.values()) for block, fids in blocks.items()}
    if len(means) < 2:
        return None
    leader = min(means, key=lambda block: (means[block], block))
    return leader if math.isfinite(means[leader]) else None


def _is_better(block: str, other: str, blocks: Mapping[str, Mapping[int, float]]) -> bool:
    """Whether a block has the lower mean FID over the seeds that the two share."""
    first, second = blocks.get(block, {}), blocks.get(other, {})
    seeds = first.keys() & second.keys()
    return sum(first[seed] for seed in seeds) < sum(second[seed] for seed in seeds)
