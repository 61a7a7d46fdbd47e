"""Which runs may be ranked together: like with like, and in words what is not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ditbench.report.images import images_of
from ditbench.rundir import metric_suffix

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

# Runs that differ in one of these do not belong in one ranking; nor do those that differ in what
# else their configurations say (`recipe`), the learning rate apart: a block may need its own.
LIKE = (
    "dataset",
    "dataset_digest",
    "model",
    "input",
    "objective",
    "features",
    "features_digest",
    "samples",
    "sampler",
    "sampling_steps",
    "cfg_scale",
    "budget",
    "batch_size",
    "ema_decay",
    "precision",
    "schema",
)
# What runs are about: those of two tasks differ in much that goes without saying.
TASK = ("dataset", "input", "model", "objective")
# A digest is 64 digits long; eight tell two of them apart.
_DIGESTS = ("dataset_digest", "features_digest", "fingerprint")


def split_groups(df: pd.DataFrame) -> list[pd.DataFrame]:
    """Part results into groups that may each be ranked, in the order of their first run.

    Runs are alike when they agree in `LIKE` and in `recipe`. Where one block then still has several
    configurations (two learning rates, say), averaging them as if they were seeds would be wrong:
    such a group is parted by them, too.
    """
    groups = [group for _, group in df.groupby([*LIKE, "recipe"], sort=False, dropna=False)]
    for column in ("lr", "fingerprint"):
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
    found = {key: _distinct(df[key]) for key in LIKE if df[key].nunique(dropna=False) > 1}
    found |= _differing_recipes(df["recipe"])
    if found or not (ambiguous := _ambiguous_blocks(df)):
        return found
    runs = df[df["block"].isin(ambiguous)]
    key = "lr" if runs["lr"].nunique(dropna=False) > 1 else "fingerprint"
    return {key: _distinct(runs[key])}


def facts_that_differ(df: pd.DataFrame) -> list[str]:
    """The keys of `facts` of which the groups of some results have different values."""
    found = list(differences(df))
    if "lr" not in found and df["lr"].nunique(dropna=False) > 1:
        found.append("lr")
    alike = df.groupby([*LIKE, "recipe", "lr"], sort=False, dropna=False)
    if "fingerprint" not in found and any(_ambiguous_blocks(part) for _, part in alike):
        found.append("fingerprint")
    return found


def facts(df: pd.DataFrame) -> dict[str, Any]:
    """All that a group's runs have in common: `shared`, and what else its configurations say."""
    common = shared(df) | _common_recipe(df["recipe"])
    fingerprints = _distinct(df["fingerprint"])
    return common | ({"fingerprint": fingerprints[0]} if len(fingerprints) == 1 else {})


def set_apart(df: pd.DataFrame, keys: Iterable[str]) -> dict[str, Any]:
    """Of some keys those that all runs have in common; None where all leave one unset."""
    common = facts(df)
    told = set().union(*_recipes(df["recipe"]))
    unset = [key for key in keys if "." in key and key not in told]
    return {key: common.get(key) for key in keys if key in common or key in unset}


def keys_apart(df: pd.DataFrame) -> dict[tuple[Any, ...], list[str]]:
    """By task, the keys that set a group of it apart: from other tasks, and from its own groups."""
    task = list(TASK)
    between = [key for key in task if df[key].nunique() > 1]
    parts = df.groupby(task, sort=False, dropna=False)
    return {of: [*between, *facts_that_differ(part)] for of, part in parts}


def apart_from_others(
    group: pd.DataFrame, keys: dict[tuple[Any, ...], list[str]]
) -> dict[str, Any]:
    """What sets a group apart, by the `keys_apart` of all groups."""
    return set_apart(group, keys[tuple(group[list(TASK)].iloc[0])])


def configurations(df: pd.DataFrame) -> list[pd.DataFrame]:
    """Runs parted so far that those of one part may differ in their seed alone."""
    return [part for _, part in df.groupby([*LIKE, "fingerprint"], sort=False, dropna=False)]


def shared(df: pd.DataFrame) -> dict[str, Any]:
    """What all runs have in common, of `LIKE`, learning rate, device and `source`: key to value."""
    keys = (*LIKE, "lr", "device", "source")
    return {key: _distinct(df[key])[0] for key in keys if df[key].nunique(dropna=False) == 1}


def devices_differ(group: pd.DataFrame) -> bool:
    """Whether the seconds of these runs are of different machines, and so not comparable."""
    return bool(group["device"].nunique() > 1)


def heading(group: dict[str, Any]) -> str:
    """A group in one line, in words; what its runs do not share is left out."""
    group = {**group, "images": images_of(group)} if images_of(group) else group
    trained = {
        "images": "{}",
        "input": "{}",
        "model": "{}",
        "objective": "{}",
        "budget": "{}",
        "batch_size": "batches of {}",
        "precision": "{}",
    }
    scored = {
        "features": "{} features",
        "sampler": "{}",
        "sampling_steps": "{} sampling steps",
        "cfg_scale": "guidance {:g}",
    }
    fid = f"FID-{suffix(group)}" if "samples" in group else "FID"
    return f"{_in_turn(group, trained)}; {', '.join(filter(None, (fid, _in_turn(group, scored))))}"


def _in_turn(group: dict[str, Any], texts: dict[str, str]) -> str:
    return ", ".join(text.format(group[key]) for key, text in texts.items() if key in group)


def describe(group: pd.DataFrame, df: pd.DataFrame) -> list[str]:
    """A group in a few words, for a panel: its task, and what sets it apart from the rest of `df`.

    The y axis tells features and samples.
    """
    common = shared(group)
    said = (*TASK, "features", "samples")
    apart = apart_from_others(group, keys_apart(df))
    return [
        f"{images_of(common)} {common['input']}",
        common["model"],
        common["objective"],
        *(name_and_value(key, value) for key, value in apart.items() if key not in said),
    ]


def name_and_value(key: str, value: Any) -> str:
    """`batch size 128`, `dataset digest 126fbed1`: a fact as words."""
    if key == "budget":
        return str(value)
    name = key if "." in key else key.replace("_", " ")  # of a configuration key, as it is set
    return f"{name} {brief(key, value)}"


def brief(key: str, value: Any) -> str:
    """A value as people can read it."""
    if value is None:
        return "unset"
    if key in _DIGESTS:
        return str(value)[:8] or "unknown"
    return str(value)


def suffix(group: dict[str, Any]) -> str:
    """The metrics' suffix as papers write it: `2K` for 2,000 samples."""
    return metric_suffix(group["samples"]).upper()


def in_words(differing: dict[str, list[Any]]) -> str:
    """`budget (1,200 steps, 2,400 steps); precision (bf16, fp32)`."""
    return "; ".join(
        f"{key} ({', '.join(brief(key, value) for value in values)})"
        for key, values in differing.items()
    )


def _recipes(column: pd.Series[Any]) -> list[dict[str, Any]]:
    return [json.loads(text) for text in _distinct(column)]


def _common_recipe(column: pd.Series[Any]) -> dict[str, Any]:
    first, *others = _recipes(column)
    return {key: value for key, value in first.items() if all(o.get(key) == value for o in others)}


def _differing_recipes(column: pd.Series[Any]) -> dict[str, list[Any]]:
    recipes = _recipes(column)
    found = {
        key: _each_once(recipe.get(key) for recipe in recipes)
        for key in sorted(set().union(*recipes))
    }
    return {key: values for key, values in found.items() if len(values) > 1}


def _ambiguous_blocks(df: pd.DataFrame) -> list[str]:
    configurations = df.groupby("block")["fingerprint"].nunique()
    return list(configurations[configurations > 1].index)


def _distinct(column: pd.Series[Any]) -> list[Any]:
    """The distinct values as plain Python objects, in order of appearance."""
    return list(dict.fromkeys(column.tolist()))


def _each_once(values: Iterable[Any]) -> list[Any]:
    """Like `_distinct`, for values that cannot be hashed either."""
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found
