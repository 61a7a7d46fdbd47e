"""Results to a comparison of blocks: one row a block, differences by seed, one sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ditbench.errors import DitbenchError, unknown_name
from ditbench.report.columns import INFERRED
from ditbench.report.curves import fid_area, to_target
from ditbench.report.groups import (
    LIKE,
    apart_from_others,
    configurations,
    devices_differ,
    differences,
    facts_that_differ,
    heading,
    in_words,
    keys_apart,
    name_and_value,
    set_apart,
    shared,
    split_groups,
    suffix,
)
from ditbench.report.images import note
from ditbench.report.order import in_order
from ditbench.report.rates import by_rate, order_by_rate
from ditbench.report.spikes import spikes_in_words
from ditbench.report.statistics import holm, mean_interval, paired
from ditbench.report.verdict import Verdict, decide, sentence

if TYPE_CHECKING:
    import pandas as pd

    from ditbench.report.statistics import Values


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a set of like runs says.

    Attributes:
        table: one row a block, ascending in `fid`; its columns are told in docs/api.md.
        baseline: the block that differences and ratios refer to.
        group: what all runs share: the keys of `LIKE`; `lr`, `device`, `source` where shared.
        sentence: the conclusion, in words.
        verdict: the same for programs; None where the ranking was forced.
        target_fid: the FID of the columns `..._to_target`, or None.
        forced: the keys in which the runs are not alike, where one ranking was forced.
        apart: of several groups, what sets this one apart: key to value.
    """

    table: pd.DataFrame
    baseline: str
    group: dict[str, Any]
    sentence: str
    verdict: Verdict | None = None
    target_fid: float | None = None
    forced: dict[str, list[Any]] = field(default_factory=dict)
    apart: dict[str, Any] = field(default_factory=dict)

    @property
    def heading(self) -> str:
        """`group` in one line, for the title of a table or a figure."""
        text = heading(self.group)
        if self.forced:
            return f"FORCED, not alike in {in_words(self.forced)}: {text}"
        return f"{self.apart_in_words}: {text}" if self.apart else text

    @property
    def note(self) -> str:
        """What these FIDs must not be compared with, or an empty text."""
        return note(self.group)

    @property
    def apart_in_words(self) -> str:
        """What sets this group apart from the others, or an empty text."""
        return ", ".join(name_and_value(key, value) for key, value in self.apart.items())


def compare(
    df: pd.DataFrame,
    baseline: str | None = None,
    *,
    target_fid: float | None = None,
    force: bool = False,
) -> Comparison:
    """Compare the blocks of like runs at the end of their training, seed by seed.

    Args:
        df: what `load_results` gives, or one of `split_groups`.
        baseline: a block of `df`; by default `in-context`, or else the first in the paper's order.
        target_fid: also tell the steps, compute and seconds that it took to reach this FID.
        force: put runs that are not alike into one ranking. It is marked as forced, infers nothing
            about differences and names no winner; a block of several configurations has a row for
            each.

    Raises:
        DitbenchError: no runs, an unknown baseline, a target that is not above 0, or runs that are
            not alike: the keys that differ are named.
    """
    _must_have_runs(df)
    unlike = differences(df)
    if unlike and not force:
        raise DitbenchError(
            f"these runs are not alike, they differ in {in_words(unlike)}",
            "compare them group by group (split_groups), or rank them all the same: --force, or "
            "force=True",
        )
    df = df.reset_index(drop=True)  # of several frames put together it may name rows twice
    if unlike:
        df = df.assign(block=_labels(df))
    blocks = in_order(df["block"])
    if baseline is not None and baseline not in blocks:
        raise unknown_name("baseline", baseline, blocks)
    baseline = baseline or blocks[0]
    final = df[df["final"]]
    fids = _by_seed(final, blocks)
    table = _means(df, target_fid).loc[blocks].join(_beside(blocks, fids, baseline))
    group = shared(final)
    verdict = None if unlike else decide(blocks, fids)
    if verdict is None:
        table[list(INFERRED)] = math.nan  # an interval beside 1 would be a verdict, too
        text = f"Forced: these runs differ in {in_words(unlike)}, so no winner is named."
    else:
        text = sentence(verdict, f"FID-{suffix(group)}") + _remarks(final, group)
    table = table.rename_axis("block").reset_index()
    table = table.sort_values(["fid", "block"], ignore_index=True)
    return Comparison(table, baseline, group, text, verdict, target_fid, unlike)


def compare_groups(
    df: pd.DataFrame, baseline: str | None = None, *, target_fid: float | None = None
) -> list[Comparison]:
    """Compare each group of like runs by itself; see `compare`.

    Raises:
        DitbenchError: no runs, a target that is not above 0, or a baseline that no group has. A
            group without the baseline has its own.
    """
    _must_have_runs(df)
    if baseline is not None and baseline not in set(df["block"]):
        raise unknown_name("baseline", baseline, in_order(df["block"]))
    comparisons = []
    orders = _orders(df)
    keys = keys_apart(df)
    for group in split_groups(df):
        known = baseline if baseline in set(group["block"]) else None
        comparison = compare(group, known, target_fid=target_fid)
        text = f"{comparison.sentence} {orders[group['path'].iloc[0]]}".strip()
        comparisons.append(replace(comparison, apart=apart_from_others(group, keys), sentence=text))
    return comparisons


def _orders(df: pd.DataFrame) -> dict[str, str]:
    """For the path of each run what its sentence says of those like it but in learning rate."""
    alike = df.groupby([*LIKE, "recipe"], sort=False, dropna=False)
    orders = ((part["path"], order_by_rate(by_rate(part))) for _, part in alike)
    return {path: order for paths, order in orders for path in paths}


def _must_have_runs(df: pd.DataFrame) -> None:
    if df.empty:
        raise DitbenchError(
            "there are no runs to compare", "`ditbench run --block paper` makes some"
        )


def _labels(df: pd.DataFrame) -> pd.Series[str]:
    """Names of rows: the block, and where one has several configurations what sets them apart."""
    labels = df["block"].copy()
    for block, runs in df.groupby("block"):
        parts = configurations(runs)
        keys = facts_that_differ(runs)
        for part in parts if len(parts) > 1 else ():
            words = [name_and_value(*fact) for fact in set_apart(part, keys).items()]
            labels.loc[part.index] = f"{block} ({', '.join(words)})"
    return labels


def _by_seed(final: pd.DataFrame, blocks: list[str]) -> Values:
    """(B, S) final FIDs; NaN where a block lacks a seed."""
    twice = final[final.duplicated(["block", "seed"], keep=False)]
    if not twice.empty:
        first = twice.iloc[0]
        raise DitbenchError(
            f"two runs of {first['block']}, seed {first['seed']}: {', '.join(twice['path'])}",
            "load_results keeps the newest of each: give compare what it returns",
        )
    fids = final.pivot(index="block", columns="seed", values="fid").loc[blocks]
    return fids.to_numpy(dtype=np.float64)


def _means(df: pd.DataFrame, target_fid: float | None) -> pd.DataFrame:
    """One row a block: means over its seeds, how they spread, and what its curves say."""
    final = df[df["final"]].set_index("path", drop=False)
    final = final.assign(fid_area=fid_area(df))
    grouped = final.groupby("block")
    table = grouped.agg(
        seeds=("seed", "nunique"),
        parameters=("parameters", "first"),
        gmacs=("gmacs", "first"),
        steps=("steps", "mean"),
        train_flops=("train_flops", "mean"),
        train_seconds=("train_seconds", "mean"),
        fid=("fid", "mean"),
        fid_std=("fid", "std"),
        loss_spikes=("loss_spike", "count"),
    )
    intervals = {block: mean_interval(fid.to_numpy()) for block, fid in grouped["fid"]}
    table["fid_low"] = [intervals[block].low for block in table.index]
    table["fid_high"] = [intervals[block].high for block in table.index]
    names = ["kid", "label_accuracy", "fid_area", "steps_per_second", "peak_memory_bytes"]
    table = table.join(grouped[names].mean())
    if devices_differ(final):  # the mean speed of two machines is no speed of anything
        table[["train_seconds", "steps_per_second", "peak_memory_bytes"]] = math.nan
    if target_fid is not None:
        table = table.join(_reaching(df, final, target_fid))
    return table


def _reaching(df: pd.DataFrame, final: pd.DataFrame, target_fid: float) -> pd.DataFrame:
    """What reaching a FID took: means where each seed reached it, and how many did."""
    runs = to_target(df, target_fid)
    if devices_differ(final):
        runs["seconds_to_target"] = math.nan
    grouped = runs.groupby(final["block"])
    means = grouped.mean()
    reached = runs["steps_to_target"].notna().groupby(final["block"]).sum()
    # The mean of those that reached it would praise a block for the seeds that did not.
    return means.where(reached == grouped.size()).assign(reached_target=reached)


def _beside(blocks: list[str], fids: Values, baseline: str) -> pd.DataFrame:
    """Each block beside the baseline: difference, ratio and test, paired by seed."""
    import pandas as pd

    reference = fids[blocks.index(baseline)]
    pairs = {block: paired(row, reference) for block, row in zip(blocks, fids, strict=True)}
    others = [block for block in blocks if block != baseline]
    p_holm = holm(np.array([pairs[block].p_value for block in others]))
    corrected = dict(zip(others, p_holm.tolist(), strict=True))
    rows = {
        block: {
            "pairs": pair.n,
            "fid_difference": pair.difference,
            "fid_difference_low": pair.difference_interval.low,
            "fid_difference_high": pair.difference_interval.high,
            "fid_ratio": pair.ratio,
            "fid_ratio_low": pair.ratio_interval.low,
            "fid_ratio_high": pair.ratio_interval.high,
            "p_value": pair.p_value,
            "p_holm": corrected.get(block, math.nan),
        }
        for block, pair in pairs.items()
    }
    table = pd.DataFrame.from_dict(rows, orient="index")
    # Of a block beside itself there is nothing to infer.
    table.loc[baseline, list(INFERRED)] = math.nan
    return table


def _remarks(final: pd.DataFrame, group: dict[str, Any]) -> str:
    """What a reader of the sentence must know besides."""
    text = ""
    if final.groupby("block")["seed"].agg(frozenset).nunique() > 1:
        text += " Blocks have different seeds: differences are over those that two of them share."
    if "lr" not in group:
        rates = final.groupby("block")["lr"].first()
        listed = ", ".join(f"{block} {rates[block]:g}" for block in in_order(rates.index))
        text += f" Learning rates differ: {listed}."
    if "device" not in group:
        text += " Times, speed and memory are left out: the runs were made on different devices."
    return f"{text} {spikes_in_words(final)}".rstrip()
