"""What qualifies a verdict: how the runs differ, and which of them had trouble."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ditbench.models.sizes import TOLERANCE
from ditbench.report import remark_words
from ditbench.report.facts import in_order
from ditbench.report.reading.equal_size import equal_size
from ditbench.report.reading.groups import devices_differ, why_times_differ
from ditbench.report.reading.metrics import MetricFacts
from ditbench.report.statistics.paired import Values
from ditbench.report.statistics.verdict import Verdict

if TYPE_CHECKING:
    import pandas as pd

# It is computed from the curve, so no run describes it.
FID_AREA = MetricFacts(
    name="fid_area", title="FID area", direction="lower", format=".1f", scale="log"
)


def other_winners(
    by_metric: Iterable[tuple[MetricFacts, Values]], rule: Callable[..., Verdict], leader: str
) -> dict[str, list[MetricFacts]]:
    """The metrics by which the same rule names another winner than the leader, by winner.

    A metric counts if each block has a value of it (B, S).
    """
    found: dict[str, list[MetricFacts]] = {}
    for metric, values in by_metric:
        if np.isnan(values).all(axis=1).any():
            continue
        winner = rule(values, direction=metric.direction, scale=metric.scale).winner
        if winner not in (None, leader):
            found.setdefault(winner, []).append(metric)
    return found


def unequal_sizes(final: pd.DataFrame, verdict: Verdict) -> dict[str, tuple[str, float]]:
    """How much larger the leader is than the rival that differs most: by size, rival and ratio.

    Only sizes (parameters, multiply-accumulates) that differ by more than `TOLERANCE`.
    """
    found = {}
    rivals = [rival.block for rival in verdict.rivals]
    for column in remark_words.SIZES:
        sizes = final.groupby("block")[column].first()
        ratios = {rival: sizes[verdict.leader] / sizes[rival] for rival in rivals if sizes[rival]}
        far = {rival: abs(math.log(r)) if r > 0 else math.inf for rival, r in ratios.items()}
        most = max(far, key=far.__getitem__, default="")
        if most and far[most] > math.log1p(TOLERANCE):
            found[column] = (most, float(ratios[most]))
    return found


def remarks(final: pd.DataFrame, group: dict[str, Any]) -> list[str]:
    """Notes that qualify the verdict."""
    found = []
    if final.groupby("block")["seed"].agg(frozenset).nunique() > 1:
        found.append(remark_words.DIFFERENT_SEEDS)
    if "lr" not in group:
        found.append(remark_words.differ_between_blocks("Learning rates", _by_block(final, "lr")))
    if equal_size(final):
        found.append(remark_words.widths(_by_block(final, "model")))
    found += conditions(final)
    known = final[final["backend"] != ""]
    if known["backend"].nunique() > 1:
        found.append(remark_words.differ_between_blocks("Backends", _by_block(known, "backend")))
    skipping = final[final["skipped_updates"] > 0]
    if not skipping.empty:
        share = (skipping["skipped_updates"] / skipping["steps"]).groupby(skipping["block"]).max()
        shares = {block: float(share[block]) for block in in_order(skipping["block"])}
        found.append(remark_words.skipped_updates(shares, len(skipping)))
    spiked = final[final["loss_spike"].notna()]
    if not spiked.empty:
        of_block = spiked.groupby("block")["seed"].agg(list)
        seeds = {block: of_block[block] for block in in_order(of_block.index)}
        clipped = all("train.grad_clip" in json.loads(recipe) for recipe in spiked["recipe"])
        worst = spiked["loss_spike"].max()
        found.append(remark_words.spikes(seeds, len(final), worst, clipped=clipped))
    return found


def conditions(final: pd.DataFrame) -> list[str]:
    """In which devices and versions the runs differ; also said of a forced ranking."""
    found = []
    if devices_differ(final):
        found.append(remark_words.different_devices(_distinct(final, "device")))
    elif why_times_differ(final):
        found.append(remark_words.shared_cpu(final["shared_cpu_workers"]))
    versions = {name: _distinct(final, f"{name}_version") for name in ("ditbench", "torch")}
    found.append(remark_words.made_with({k: v for k, v in versions.items() if len(v) > 1}))
    return found


def _distinct(final: pd.DataFrame, column: str) -> list[str]:
    """The known values of a column in natural order: 2.9 before 2.11."""
    values = set(final[column]) - {""}
    padded = {value: re.sub(r"\d+", lambda number: number[0].zfill(9), value) for value in values}
    return sorted(values, key=padded.__getitem__)


def _by_block(final: pd.DataFrame, column: str) -> dict[str, str]:
    """The values of each block's runs, as text."""
    write = "{:g}".format if column == "lr" else str
    values = final.groupby("block")[column].unique()
    return {block: "/".join(map(write, values[block])) for block in in_order(final["block"])}
