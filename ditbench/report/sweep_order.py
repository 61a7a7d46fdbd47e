"""What the sweeps that lie beside runs say of the order of their blocks."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ditbench.config import read_toml, validate
from ditbench.errors import DitbenchError
from ditbench.find import TUNING
from ditbench.report.rates import order_by_rate
from ditbench.report.tuning import read_sweeps, task_of
from ditbench.rundir import RunDirectory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from ditbench.report.tuning import Budget, Sweep


def order_of(sweeps: Sequence[Sweep]) -> str:
    """Whether which block leads depends on the rate, in words; see `order_by_rate`."""
    fids: dict[float, dict[str, dict[int, float]]] = {}
    for sweep in sweeps:
        for (rate, seed), fid in sweep.fids.items():
            fids.setdefault(rate, {}).setdefault(sweep.block, {})[seed] = fid
    return order_by_rate(fids)


def orders_in_sweeps(groups: Sequence[pd.DataFrame]) -> list[str]:
    """What the sweeps of the same blocks and tasks say, for each group of runs.

    Args:
        groups: of `split_groups`; sweeps are looked for where `ditbench tune` puts those of the
            same results. What cannot be read there says nothing.

    Returns:
        For each a sentence for every budget that sweeps had; an empty text where there are none, or
        the same block leads at every rate.
    """
    read = cache(lambda place: read_sweeps(place)[0] if place.is_dir() else [])
    return [_order_in_sweeps(group, read) for group in groups]


def _order_in_sweeps(runs: pd.DataFrame, read: Callable[[Path], list[Sweep]]) -> str:
    paths = [Path(path) for path in dict.fromkeys(runs["path"])]
    places = dict.fromkeys(path.parents[2] / TUNING for path in paths if len(path.parents) > 2)
    sweeps = [sweep for place in places for sweep in read(place)]
    if not sweeps:
        return ""
    tasks = _tasks(paths)
    by_budget: dict[Budget, list[Sweep]] = {}
    for sweep in sweeps:
        if sweep.task in tasks:
            by_budget.setdefault(sweep.budget, []).append(sweep)
    told = {budget: order_of(those) for budget, those in by_budget.items()}
    return " ".join(
        f"Of the sweeps that tuned these blocks, {budget} a run: {order}"
        for budget, order in told.items()
        if order
    )


def _tasks(paths: Sequence[Path]) -> set[str]:
    """What runs were about; one whose configuration this version cannot read is left out."""
    tasks = set()
    for path in paths:
        try:
            tasks.add(task_of(validate(read_toml(RunDirectory(path).config))))
        except DitbenchError:
            continue
    return tasks
