"""Which runs may be ranked together, and in what the others differ."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ditbench.report.facts import ALIKE, SHARED, TASK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pandas as pd


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that may be ranked together.

    Attributes:
        runs: their rows.
        apart: what distinguishes them from the other groups: key to value.
        at_all_rates: the rows of all runs that are like these except for the learning rate.
    """

    runs: pd.DataFrame
    apart: dict[str, Any]
    at_all_rates: pd.DataFrame


def groups_of(df: pd.DataFrame) -> list[Group]:
    """Split results into groups that may be ranked, in the order of their first run.

    Runs are alike if they agree in the facts `ALIKE` and in `recipe`. A block that then still has
    several configurations (two learning rates, say) would have them averaged as if they were
    seeds: such a group is split by them, too.
    """
    split = [
        (part, at_all_rates)
        for _, at_all_rates in df.groupby([*ALIKE, "recipe"], sort=False, dropna=False)
        for by_rate in _split_if_ambiguous(at_all_rates, "lr")
        for part in _split_if_ambiguous(by_rate, "fingerprint")
    ]
    by_task: dict[tuple[Any, ...], list[int]] = {}
    for number, (part, _) in enumerate(split):
        by_task.setdefault(tuple(part[list(TASK)].iloc[0]), []).append(number)
    of_task = [key for key in TASK if df[key].nunique() > 1]
    apart: dict[int, dict[str, Any]] = {}
    for numbers in by_task.values():
        distinct = distinctions([split[number][0] for number in numbers])
        for number, found in zip(numbers, distinct, strict=True):
            first = split[number][0].iloc[0]
            apart[number] = {key: first[key] for key in of_task} | found
    return [
        Group(part, apart[number], at_all_rates)
        for number, (part, at_all_rates) in enumerate(split)
    ]


def split_groups(df: pd.DataFrame) -> list[pd.DataFrame]:
    """Split results into groups that may be ranked, in the order of their first run.

    Runs are alike if they agree in data, model, objective, budget, evaluation and all else that
    their configurations say, except for the learning rate: a block may need its own.
    """
    return [group.runs for group in groups_of(df)]


def differences(df: pd.DataFrame) -> dict[str, list[Any]]:
    """The keys that keep runs from being ranked together, each with its values."""
    found = {key: _values(df[key]) for key in ALIKE}
    recipes = _recipes(df)
    for key in sorted(set().union(*recipes)):
        found[key] = _distinct(recipe.get(key) for recipe in recipes)
    found = {key: values for key, values in found.items() if len(values) > 1}
    if found:
        return found
    runs = df[df["block"].isin(_ambiguous_blocks(df))]
    rates_or_prints = {key: _values(runs[key]) for key in ("lr", "fingerprint")}
    return dict([item for item in rates_or_prints.items() if len(item[1]) > 1][:1])


def distinctions(parts: Sequence[pd.DataFrame]) -> list[dict[str, Any]]:
    """What distinguishes each of several sets of runs from the others.

    A configuration key that some set leaves unset has the value None there. Fingerprints are named
    only where nothing else distinguishes two sets.
    """
    facts = [_facts(part) for part in parts]
    recipe_keys = sorted({key for each in facts for key in each if "." in key})
    found: list[dict[str, Any]] = [{} for _ in parts]
    for key in (*ALIKE, *recipe_keys, "lr", "fingerprint"):
        if key == "fingerprint" and len(_distinct(found)) == len(found):
            break
        if len(_distinct(each.get(key) for each in facts)) > 1:
            for each, distinct in zip(facts, found, strict=True):
                if key in each or "." in key:
                    distinct[key] = each.get(key)
    return found


def configurations(df: pd.DataFrame) -> list[pd.DataFrame]:
    """Runs split into sets whose runs may differ in their seed only."""
    return [part for _, part in df.groupby([*ALIKE, "fingerprint"], sort=False, dropna=False)]


def shared(df: pd.DataFrame) -> dict[str, Any]:
    """The facts `SHARED` that all runs have in common: key to value."""
    return dict(_shared(df, SHARED))


def devices_differ(group: pd.DataFrame) -> bool:
    """Whether these runs were made on different devices, so that seconds are not comparable."""
    return bool(group["device"].nunique() > 1)


def _facts(df: pd.DataFrame) -> dict[str, Any]:
    """All that these runs have in common, the keys of their configurations included."""
    common = dict(_shared(df, (*ALIKE, "lr", "fingerprint")))
    first, *others = _recipes(df)
    return common | {
        key: value
        for key, value in first.items()
        if all(other.get(key) == value for other in others)
    }


def _shared(df: pd.DataFrame, keys: Iterable[str]) -> Iterator[tuple[str, Any]]:
    for key in keys:
        value, *others = _values(df[key])
        if not others:
            yield key, value


def _split_if_ambiguous(df: pd.DataFrame, column: str) -> list[pd.DataFrame]:
    if not _ambiguous_blocks(df):
        return [df]
    return [part for _, part in df.groupby(column, sort=False)]


def _ambiguous_blocks(df: pd.DataFrame) -> list[str]:
    """The blocks that have several configurations."""
    number = df.groupby("block")["fingerprint"].nunique()
    return list(number[number > 1].index)


def _recipes(df: pd.DataFrame) -> list[dict[str, Any]]:
    return [json.loads(text) for text in _values(df["recipe"])]


def _values(column: pd.Series[Any]) -> list[Any]:
    """The distinct values as plain Python objects, in order of appearance."""
    return list(dict.fromkeys(column.tolist()))


def _distinct(values: Iterable[Any]) -> list[Any]:
    """The same for values that may have no hash."""
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found
