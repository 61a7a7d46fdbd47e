"""What the reference runs measured of each preset: time and score of one run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ditbench.config.load import load, preset_summary, presets
from ditbench.report.reading.one_run import settings
from ditbench.report.reading.results import load_results
from ditbench.rundir import SHARED_CPU, RunDirectory

if TYPE_CHECKING:
    import pandas as pd

    Row = dict[str, Any]

BLOCK = "adaln-zero"  # whose runs are shown: the paper recommends it
# Settings in which a run of a preset may differ from it: what `auto` stood for, options of the
# block at their defaults, further scores of the same samples, and where the images are.
_FILLED_IN = ("train.precision", "eval.sampler", "metrics.also", "options.", "data.")


def describe_presets(measured: Iterable[Path]) -> list[Row]:
    """A row per preset: what it trains, and what runs of it in the first directory with some say.

    `fid`, `fid_sd`, `seeds` and `images` (a name, where the runs had other images than the preset)
    are those of `BLOCK`. `minutes` (training and evaluation) and `device` are those of its runs in
    the first directory with some that had a CPU to themselves. All are absent without such runs.
    """
    tables = [load_results(place, BLOCK) for place in measured if place.is_dir()]
    tables = [runs[runs["final"]] for runs in tables]
    rows = []
    for name in presets():
        runs = [_runs_of(name, table) for table in tables]
        alone = [table[table[SHARED_CPU] == 1] for table in runs]
        rows.append(_described(name) | _scores(name, _first(runs)) | _times(_first(alone)))
    return rows


def _described(name: str) -> Row:
    config = load(name)
    return {
        "preset": name, "summary": preset_summary(name), "data": config.data.name,
        "model": config.model.size.name, "objective": config.objective.name,
        "steps": config.budget.steps, "batch_size": config.train.batch_size,
        "samples": config.eval.samples, "features": config.metrics.features, "block": BLOCK,
    }  # fmt: skip


def _scores(name: str, runs: pd.DataFrame | None) -> Row:
    """Means over the seeds, whatever the device."""
    if runs is None:
        return {}
    first = runs.iloc[0]
    return {
        "fid": float(runs["fid"].mean()),
        "fid_sd": float(runs["fid"].std()),
        "seeds": len(runs),
        "images": None if first["dataset"] == load(name).data.name else first["source"],
    }


def _times(runs: pd.DataFrame | None) -> Row:
    """Means over the runs on the device that most of them have."""
    if runs is None:
        return {}
    device = runs["device"].mode()[0]
    runs = runs[runs["device"] == device]
    seconds = runs["train_seconds"] + runs["eval_seconds"]
    return {"minutes": float(seconds.mean() / 60), "device": device}


def _runs_of(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """The runs with a preset's settings, apart from the images."""
    own = table[table["preset"] == name]
    differing = [settings(RunDirectory(Path(path)))[1] for path in own["path"]]
    return own.loc[[all(row["key"].startswith(_FILLED_IN) for row in rows) for rows in differing]]


def _first(tables: Iterable[pd.DataFrame]) -> pd.DataFrame | None:
    """The first table with runs."""
    return next((table for table in tables if not table.empty), None)
