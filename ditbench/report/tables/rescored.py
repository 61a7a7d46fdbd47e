"""The table of `ditbench eval`: one row per run and setting, means over draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import stdev
from typing import Any

from ditbench.report.reading.evals import read_draws
from ditbench.report.reading.metrics import MetricFacts
from ditbench.report.reading.scores import mean_draw
from ditbench.report.tables.columns import Column, hidden, metric_column
from ditbench.report.words import fid_title

# How a setting samples and scores; of these, people see what differs within a table.
SETTING = ("cfg_scale", "sampler", "sampling_steps", "samples", "features")


def rescored_row(
    path: Path, content: Mapping[str, Any]
) -> tuple[dict[str, Any], Sequence[MetricFacts]]:
    """The row of one file in `evals/`, and the metrics that it has; a DitbenchError for damage."""
    metrics, draws = read_draws(dict(content), path)
    return {
        "block": content["block"],
        "seed": content["seed"],
        "evaluation": path.stem,
        **mean_draw(draws, metrics),
        "draws": len(draws),
        "fid_std": stdev(row["fid"] for row in draws) if len(draws) > 1 else None,
        "path": str(path.parents[1]),
    }, metrics


def rescored_columns(
    rows: Sequence[Mapping[str, Any]], metrics: Sequence[MetricFacts]
) -> tuple[Column, ...]:
    """The columns of such rows. People see what rows differ in, and metrics; programs see all."""
    samples, features = (
        rows[0][key] if len({row[key] for row in rows}) == 1 else None
        for key in ("samples", "features")
    )
    column = partial(metric_column, samples=samples, features=features)
    fid = next(metric for metric in metrics if metric.name == "fid")
    several = any(row["draws"] > 1 for row in rows)
    runs = len({row["path"] for row in rows}) > 1
    return (
        Column("block", "Block" if runs else None),
        Column("seed", "Seed" if runs else None, "{:d}".format),
        *hidden("evaluation"),
        Column("cfg_scale", "Guidance", "{:g}".format),
        *hidden(*SETTING[1:], "step"),
        Column("draws", "Draws" if several else None, "{:d}".format),
        column(fid, spread="fid_std"),
        *hidden("fid_std"),
        *(column(metric) for metric in metrics if metric is not fid),
        *hidden("path"),
    )


def sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the rows of one run say: the lowest FID, at which guidance."""
    best = min(rows, key=lambda row: row["fid"])
    name = f"{best['block']}, seed {best['seed']}: {fid_title(best)}"
    scale = f"guidance {best['cfg_scale']:g}"
    if len(rows) == 1:
        return f"{name} {best['fid']:.2f} at {scale} ({setting(rows)})."
    return f"{name} is lowest at {scale}: {best['fid']:.2f} ({setting(rows)})."


def setting(rows: Sequence[Mapping[str, Any]]) -> str:
    """How the samples were made and scored, as far as it is the same for all rows."""
    texts = {"sampler": "{}", "sampling_steps": "{} steps", "features": "{} features"}
    alike = [key for key in texts if len({row[key] for row in rows}) == 1]
    return ", ".join(texts[key].format(rows[0][key]) for key in alike)
