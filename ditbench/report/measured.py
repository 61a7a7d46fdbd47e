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

    `minutes` (training and evaluation), `fid`, `fid_sd`, `seeds`, `device` and `images` (a name,
    where the runs had other images than the preset) are those of `BLOCK`; absent without runs.
    """
    tables = [load_results(place, BLOCK) for place in measured if place.is_dir()]
    return [
        _described(name) | next(filter(None, (_measured(name, runs) for runs in tables)), {})
        for name in presets()
    ]


def _described(name: str) -> Row:
    config = load(name)
    return {
        "preset": name, "summary": preset_summary(name), "data": config.data.name,
        "model": config.model.size.name, "objective": config.objective.name,
        "steps": config.budget.steps, "batch_size": config.train.batch_size,
        "samples": config.eval.samples, "features": config.metrics.features, "block": BLOCK,
    }  # fmt: skip


def _measured(name: str, runs: pd.DataFrame) -> Row:
    """Means over seeds of the runs with the preset's settings, on one device and alone on a CPU."""
    final = runs[runs["final"] & (runs["preset"] == name) & (runs[SHARED_CPU] == 1)]
    final = final[[_has_its_settings(Path(path)) for path in final["path"]]]
    if final.empty:
        return {}
    final = final[final["device"] == final["device"].mode()[0]]
    first = final.iloc[0]
    return {
        "minutes": float((final["train_seconds"] + final["eval_seconds"]).mean() / 60),
        "fid": float(final["fid"].mean()),
        "fid_sd": float(final["fid"].std()),
        "seeds": len(final),
        "device": first["device"],
        "images": None if first["dataset"] == load(name).data.name else first["source"],
    }


def _has_its_settings(path: Path) -> bool:
    """Whether a run has the settings of its preset, apart from the images."""
    _, differing = settings(RunDirectory(path))
    return all(row["key"].startswith(_FILLED_IN) for row in differing)
