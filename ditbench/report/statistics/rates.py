"""Whether the order of blocks depends on the learning rate."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from ditbench.report import words

if TYPE_CHECKING:
    import pandas as pd


def order_by_rate(df: pd.DataFrame) -> str:
    """A sentence that says which block leads at which learning rate; empty if one always does.

    Two rates count if the leaders of both were run at both and swap places there over the seeds
    that they share. A leader whose rival was not run says nothing.

    Args:
        df: rows of `load_results`, of runs that differ in block, seed and learning rate only.
    """
    final = df[df["final"]].sort_values("lr")
    if final["lr"].nunique() < 2:
        return ""
    leaders: dict[float, str] = {}
    fids: dict[float, pd.DataFrame] = {}
    for rate in final["lr"].unique().tolist():
        runs = final[final["lr"] == rate]
        table = runs.pivot_table(index="seed", columns="block", values="fid", aggfunc="last")
        if len(table.columns) > 1:
            leaders[rate], fids[rate] = str(table.mean().idxmin()), table
    swaps = any(
        _is_better(leaders[a], leaders[b], fids[a]) and _is_better(leaders[b], leaders[a], fids[b])
        for a, b in combinations(leaders, 2)
    )
    return words.order_depends_on_rate(leaders) if swaps else ""


def _is_better(block: str, other: str, fids: pd.DataFrame) -> bool:
    """Whether a block has the lower mean FID over the seeds that the two share."""
    if block == other or not {block, other} <= set(fids.columns):
        return False
    both = fids[[block, other]].dropna()
    return bool(both[block].sum() < both[other].sum())
