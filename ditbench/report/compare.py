"""Results to a comparison of blocks: like with like only, one row a block, one sentence."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ditbench.errors import DitbenchError, unknown_name
from ditbench.report.style import in_order
from ditbench.rundir import metric_suffix

if TYPE_CHECKING:
    import pandas as pd

# Runs that differ in one of these do not belong in one ranking.
LIKE = (
    "dataset",
    "dataset_digest",
    "model",
    "input",
    "objective",
    "features",
    "samples",
    "sampler",
    "sampling_steps",
    "cfg_scale",
    "steps",
    "batch_size",
    "precision",
)


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a set of like runs says.

    Attributes:
        table: one row a block, ascending in `fid`: `block, seeds` (how many), `parameters, gmacs,
            fid, fid_std, kid, label_accuracy, steps_per_second, peak_memory_bytes, fid_ratio`.
            Means over seeds; `fid_std` is the sample standard deviation, NaN for one seed;
            `fid_ratio` is `fid` over that of the baseline. Speed and memory are NaN when the runs
            were made on different devices.
        baseline: the block that `fid_ratio` refers to.
        group: what all runs share: the keys of `LIKE`, and `lr` and `device` where shared.
        sentence: the conclusion, in words.
    """

    table: pd.DataFrame
    baseline: str
    group: dict[str, Any]
    sentence: str

    @property
    def heading(self) -> str:
        """`group` in one line, for the title of a table or a figure."""
        return heading(self.group)


def compare(df: pd.DataFrame, baseline: str | None = None) -> Comparison:
    """Compare the blocks of one group of like runs, at the end of their training.

    Args:
        df: what `load_results` gives, or one of `split_groups`.
        baseline: a block of `df`; by default `in-context`, or else the first in the paper's order.

    Raises:
        DitbenchError: no runs, an unknown baseline, or runs that are not alike: the keys that
            differ are named.
    """
    final = df[df["final"]]
    if final.empty:
        raise DitbenchError("there are no runs to compare", "`ditbench run --block all` makes some")
    _refuse_unlike(final)
    blocks = in_order(final["block"])
    if baseline is not None and baseline not in blocks:
        raise unknown_name("baseline", baseline, blocks)
    baseline = baseline or blocks[0]
    table = _means(final, baseline)
    group = shared(final)
    return Comparison(table, baseline, group, _sentence(table, group))


def split_groups(df: pd.DataFrame) -> list[pd.DataFrame]:
    """Part results into groups that may each be ranked, in the order of their first run.

    Runs are alike when they agree in `LIKE`. Where one block then still has several
    configurations (two learning rates, say), averaging them as if they were seeds would be wrong:
    such a group is parted by everything else in the configuration, too.
    """
    groups = [group for _, group in df.groupby(list(LIKE), sort=False, dropna=False)]
    for column in ("recipe", "fingerprint"):
        groups = [
            part
            for group in groups
            for part in (
                [part for _, part in group.groupby(column, sort=False)]
                if _ambiguous_blocks(group)
                else [group]
            )
        ]
    return groups


def differences(df: pd.DataFrame) -> dict[str, list[Any]]:
    """The keys in which runs are not alike, each with its values; empty for one like group."""
    differing = {key: _distinct(df[key]) for key in LIKE if df[key].nunique(dropna=False) > 1}
    if differing or not (ambiguous := _ambiguous_blocks(df)):
        return differing
    texts = _distinct(df.loc[df["block"].isin(ambiguous), "recipe"])
    recipes = [json.loads(text) for text in texts]
    for key in sorted(set().union(*recipes)):
        values = [recipe.get(key) for recipe in recipes]
        if any(value != values[0] for value in values):
            differing[key] = [value for n, value in enumerate(values) if value not in values[:n]]
    return differing or {"fingerprint": _distinct(df["fingerprint"])}


def shared(df: pd.DataFrame) -> dict[str, Any]:
    """What all runs have in common, of `LIKE` and of learning rate and device: key to value."""
    keys = (*LIKE, "lr", "device")
    return {key: _distinct(df[key])[0] for key in keys if df[key].nunique(dropna=False) == 1}


def heading(group: dict[str, Any]) -> str:
    """A group in one line, in words."""
    return (
        f"{group['dataset']} {group['input']}, {group['model']}, {group['objective']}, "
        f"{group['steps']:,} steps of {group['batch_size']}, {group['precision']}; "
        f"FID-{suffix(group)} in {group['features']} features, "
        f"{group['sampler']} {group['sampling_steps']} steps, guidance {group['cfg_scale']:g}"
    )


def describe(group: dict[str, Any], common: dict[str, Any]) -> list[str]:
    """A group in a few words, for a panel: its task, and what sets it apart beyond `common`."""
    parts = [f"{group['dataset']} {group['input']}", group["model"], group["objective"]]
    said = ("dataset", "input", "model", "objective", "features", "samples")
    apart = [key for key in (*LIKE, "lr") if key in group and key not in (*common, *said)]
    # A digest is 64 digits long; eight tell two data sets apart.
    values = {**group, "dataset_digest": str(group.get("dataset_digest"))[:8]}
    return parts + [f"{key.replace('_', ' ')} {values[key]}" for key in apart]


def suffix(group: dict[str, Any]) -> str:
    """The metrics' suffix as papers write it: `2K` for 2,000 samples."""
    return metric_suffix(group["samples"]).upper()


def _refuse_unlike(df: pd.DataFrame) -> None:
    differing = differences(df)
    if differing:
        texts = [f"{key} ({', '.join(map(str, values))})" for key, values in differing.items()]
        raise DitbenchError(
            f"these runs are not alike, they differ in {'; '.join(texts)}",
            "compare them group by group: split_groups(df), or name a directory that holds one",
        )


def _ambiguous_blocks(df: pd.DataFrame) -> list[str]:
    configurations = df.groupby("block")["fingerprint"].nunique()
    return list(configurations[configurations > 1].index)


def _distinct(column: pd.Series[Any]) -> list[Any]:
    """The distinct values as plain Python objects, in order of appearance."""
    return list(dict.fromkeys(column.tolist()))


def _means(final: pd.DataFrame, baseline: str) -> pd.DataFrame:
    table = (
        final.groupby("block")
        .agg(
            seeds=("seed", "nunique"),
            parameters=("parameters", "first"),
            gmacs=("gmacs", "first"),
            fid=("fid", "mean"),
            fid_std=("fid", "std"),
            kid=("kid", "mean"),
            label_accuracy=("label_accuracy", "mean"),
            steps_per_second=("steps_per_second", "mean"),
            peak_memory_bytes=("peak_memory_bytes", "mean"),
        )
        .reset_index()
    )
    if final["device"].nunique() > 1:  # the mean speed of two machines is no speed of anything
        table[["steps_per_second", "peak_memory_bytes"]] = math.nan
    table["fid_ratio"] = table["fid"] / table.loc[table["block"] == baseline, "fid"].item()
    return table.sort_values(["fid", "block"], ignore_index=True)


def _sentence(table: pd.DataFrame, group: dict[str, Any]) -> str:
    first = table.iloc[0]
    fid = f"FID-{suffix(group)}"
    if len(table) == 1:
        return (
            f"Only {first['block']} was run ({fid} {first['fid']:.2f}); "
            "`ditbench run --block all` gives it something to be compared with."
        )
    second = table.iloc[1]
    text = (
        f"{first['block']} has the lowest mean {fid}, {first['fid']:.2f} "
        f"({_seeds(first['seeds'])}); "
        f"the next, {second['block']}, has {second['fid']:.2f} ({_seeds(second['seeds'])})"
    )
    if first["fid"] == second["fid"]:
        text += ", the same."
    elif first["fid"] > 0:
        text += f", {second['fid'] / first['fid']:.3g} times that."
    else:
        text += "."
    if min(first["seeds"], second["seeds"]) < 2:
        text += " One seed cannot tell a difference from noise: run more, --seeds 0,1,2."
    else:
        text += " No test of significance was made."
    if "device" not in group:
        text += " Speed and memory are left out: the runs were made on different devices."
    return text


def _seeds(number: int) -> str:
    return "1 seed" if number == 1 else f"{number} seeds"
