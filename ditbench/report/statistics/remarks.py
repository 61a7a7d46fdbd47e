"""What qualifies a verdict: how the runs differ, and which of them had trouble."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ditbench.report import remark_words
from ditbench.report.facts import in_order

if TYPE_CHECKING:
    import pandas as pd


def remarks(final: pd.DataFrame, group: dict[str, Any]) -> list[str]:
    """Notes that qualify the verdict."""
    found = []
    if final.groupby("block")["seed"].agg(frozenset).nunique() > 1:
        found.append(remark_words.DIFFERENT_SEEDS)
    if "lr" not in group:
        found.append(remark_words.differ_between_blocks("Learning rates", _by_block(final, "lr")))
    if "device" not in group:
        found.append(remark_words.DIFFERENT_DEVICES)
    known = final[final["backend"] != ""]
    if known["backend"].nunique() > 1:
        found.append(remark_words.differ_between_blocks("Backends", _by_block(known, "backend")))
    spiked = final[final["loss_spike"].notna()]
    if not spiked.empty:
        of_block = spiked.groupby("block")["seed"].agg(list)
        seeds = {block: of_block[block] for block in in_order(spiked["block"])}
        clipped = all("train.grad_clip" in json.loads(recipe) for recipe in spiked["recipe"])
        worst = spiked["loss_spike"].max()
        found.append(remark_words.spikes(seeds, len(final), worst, clipped=clipped))
    return found


def _by_block(final: pd.DataFrame, column: str) -> dict[str, str]:
    """The values of each block's runs, as text."""
    write = "{:g}".format if column == "lr" else str
    values = final.groupby("block")[column].unique()
    return {block: "/".join(map(write, values[block])) for block in in_order(final["block"])}
