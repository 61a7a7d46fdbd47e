"""Which runs may be ranked together, and in what the others differ."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ditbench.errors import DitbenchError
from ditbench.report.facts import ALIKE, FACTS, SHARED, TASK
from ditbench.report.reading.equal_size import equal_size, sets_of_equal_size
from ditbench.rundir import SHARED_CPU

if TYPE_CHECKING:
    import pandas as pd

    Values = dict[str, list[Any]]


_HINT = "give all columns of load_results; rows may be left out: runs[runs['block'] != 'none']"


@dataclass(frozen=True, eq=False)
class Group:
    """Rows of runs that may be ranked together, and what distinguishes them from other groups."""

    runs: pd.DataFrame
    apart: dict[str, Any]
    at_all_rates: pd.DataFrame  # all runs that are like these except for the learning rate


def check_columns(df: pd.DataFrame) -> None:
    """Refuse what is not, or not any more, a result of `load_results`."""
    columns = getattr(df, "columns", None)
    if columns is None:
        raise DitbenchError(f"a {type(df).__name__} is not the result of load_results", _HINT)
    names = [fact.name for fact in FACTS]
    if "metrics" in columns:
        described = (each for text in df["metrics"].unique() for each in json.loads(text))
        names += dict.fromkeys(each["name"] for each in described)
    if missing := [name for name in names if name not in columns]:
        raise DitbenchError(f"the runs lack the column {', '.join(missing)}", _HINT)


def groups_of(df: pd.DataFrame) -> list[Group]:
    """Split results into groups that may be ranked, in the order of their first run.

    Runs are comparable if they agree in the facts `ALIKE` and in `recipe`. A block that then
    still has several configurations (two learning rates, say) would have them averaged as if they
    were seeds: such a group is split by them, too. Groups of models of different widths, but of
    equal size, come last: a run may be in one of them and in a group of its own model.
    """
    check_columns(df)
    split = [
        (part, at_all_rates)
        for at_all_rates in _sets_at_all_rates(df)
        for by_rate in _split_if_ambiguous(at_all_rates, "lr")
        for part in _split_if_ambiguous(by_rate, "fingerprint")
    ]
    tasks = [_task(part) for part, _ in split]
    apart: dict[int, dict[str, Any]] = {}
    for task in _distinct(tasks):
        numbers = [number for number, each in enumerate(tasks) if each == task]
        apart |= zip(numbers, distinctions([split[n][0] for n in numbers]), strict=True)
    several = [key for key in TASK if len({task[key] for task in tasks}) > 1]
    return [
        Group(part, {key: tasks[number][key] for key in several} | apart[number], at_all_rates)
        for number, (part, at_all_rates) in enumerate(split)
    ]


def _sets_at_all_rates(df: pd.DataFrame) -> list[pd.DataFrame]:
    """Runs that agree in all but the learning rate: of one model, then of models of equal size."""
    equal = sets_of_equal_size(df)
    covered = [frozenset(part["path"]) for part in equal]
    of_one_model = [
        part
        for _, part in df.groupby([*ALIKE, "recipe"], sort=False, dropna=False)
        if not any(paths.issuperset(part["path"]) for paths in covered)
    ]
    return [*of_one_model, *equal]


def split_groups(df: pd.DataFrame) -> list[pd.DataFrame]:
    """Split results into groups that may be ranked, in the order of their first run.

    Comparable runs agree in data, model, objective, budget, evaluation and all else that their
    configurations say, except for the learning rate: a block may need its own. Models of different
    widths are comparable if they are of equal size.
    """
    return [group.runs for group in groups_of(df)]


def differences(df: pd.DataFrame) -> Values:
    """The keys that keep runs from being ranked together, each with its values."""
    found = _several(_values(df, _alike([df])) | _recipe_values(df))
    if equal_size(df):
        del found["model"]
    if found:
        return found
    runs = _ambiguous(df)
    return _several(_values(runs, ["lr"])) or _several(_values(runs, ["fingerprint"]))


def distinctions(parts: Sequence[pd.DataFrame]) -> list[dict[str, Any]]:
    """What distinguishes each of several sets of runs from the others.

    A configuration key that some set leaves unset has the value None there. Fingerprints are named
    only where nothing else distinguishes two sets.
    """
    alike = _alike(parts)
    keys = (*alike, "lr", "fingerprint")
    facts = [_common(_values(part, keys) | _recipe_values(part)) | _size(part) for part in parts]
    recipe_keys = sorted({key for each in facts for key in each if "." in key})
    facts = [dict.fromkeys(recipe_keys) | each for each in facts]
    keys = (*alike, *recipe_keys, "lr", "fingerprint")
    differing = [key for key in keys if len(_distinct(each.get(key) for each in facts)) > 1]
    found = [{key: each[key] for key in differing if key in each} for each in facts]
    named = [{key: each[key] for key in each if key != "fingerprint"} for each in found]
    return named if len(_distinct(named)) == len(parts) else found


def shared(df: pd.DataFrame) -> dict[str, Any]:
    """The facts `SHARED` that all runs have in common: key to value."""
    return _common(_values(df, SHARED)) | _size(df)


def _size(df: pd.DataFrame) -> dict[str, str]:
    """What stands in place of the model for models of equal size."""
    name = equal_size(df)
    return {} if name is None else {"model": f"widths of equal {name}"}


def _task(part: pd.DataFrame) -> dict[str, Any]:
    return {key: part[key].iloc[0] for key in TASK} | _size(part)


def devices_differ(group: pd.DataFrame) -> bool:
    """Whether these runs were made on different devices."""
    return bool(group["device"].nunique() > 1)


def why_times_differ(group: pd.DataFrame) -> str:
    """Why the seconds of these runs are not comparable; empty if they are."""
    if devices_differ(group):
        return "Runs on different devices"
    return "Runs that shared a CPU" if (group[SHARED_CPU] > 1).any() else ""


def _alike(parts: Sequence[pd.DataFrame]) -> list[str]:
    """The facts `ALIKE`, without the curve's sampling steps where those of scores are the same."""
    once = all((part["sampling_steps"] == part["curve_sampling_steps"]).all() for part in parts)
    return [key for key in ALIKE if not (once and key == "curve_sampling_steps")]


def _split_if_ambiguous(df: pd.DataFrame, column: str) -> list[pd.DataFrame]:
    if _ambiguous(df).empty:
        return [df]
    return [part for _, part in df.groupby(column, sort=False)]


def _ambiguous(df: pd.DataFrame) -> pd.DataFrame:
    """The runs of the blocks that have several configurations."""
    return df[df.groupby("block")["fingerprint"].transform("nunique") > 1]


def _values(df: pd.DataFrame, keys: Iterable[str]) -> Values:
    """The distinct values of some columns as plain Python objects, in order of appearance."""
    return {key: list(dict.fromkeys(df[key].tolist())) for key in keys}


def _recipe_values(df: pd.DataFrame) -> Values:
    """The distinct values of each configuration key in `recipe`; None where it is unset."""
    recipes = [json.loads(text) for text in df["recipe"].unique()]
    keys = sorted(set().union(*recipes))
    return {key: _distinct(recipe.get(key) for recipe in recipes) for key in keys}


def _distinct(values: Iterable[Any]) -> list[Any]:
    """Distinct values that may have no hash."""
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _several(values: Values) -> Values:
    return {key: each for key, each in values.items() if len(each) > 1}


def _common(values: Values) -> dict[str, Any]:
    return {key: each[0] for key, each in values.items() if len(each) == 1}
