"""The tables of scores of a run: rows of eval.csv and final.csv."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from ditbench.distances import column_of
from ditbench.errors import DitbenchError
from ditbench.files import read_text
from ditbench.report.facts import SCORED
from ditbench.report.reading.metrics import MetricFacts
from ditbench.report.reading.values import Row, facts_in, read_value, show
from ditbench.rows import parse_cell
from ditbench.rundir import RunDirectory, metric_suffix

# Where in training a row of eval.csv or final.csv is.
_PLACE = ("step", "images", "train_flops", "seconds")


def mean_draw(draws: Sequence[Row], metrics: Sequence[MetricFacts]) -> Row:
    """The first of several draws, with the means of all metrics."""
    return draws[0] | {each.name: fmean(row[each.name] for row in draws) for each in metrics}


def read_evaluations(path: Path, metrics: Sequence[MetricFacts]) -> list[Row]:
    """The rows of eval.csv: of ascending steps, all scored alike."""
    rows = [read_evaluation(row, metrics, path) for row in _read_table(path)]
    for row, following in pairwise(rows):
        if following["step"] <= row["step"]:
            raise DitbenchError(f"{path.name}: step {following['step']} comes after {row['step']}")
        if changed := [name for name in SCORED if row[name] != following[name]]:
            raise DitbenchError(f"{path.name}: {changed[0]} changes along the run")
    return rows


def read_draws(
    run: RunDirectory, metrics: Sequence[MetricFacts], last: Row, steps: Any
) -> list[Row]:
    """The draws of the final score: the last evaluation, or the rows of final.csv.

    Those are scored alike, except for the sampling steps, of which it has other `steps` if given.
    """
    path = run.finals
    if not path.exists():
        if steps is not None:
            raise DitbenchError(f"{path.name} is missing: {run.config.name} has other final steps")
        return [last]
    expected = {name: last[name] for name in (*_PLACE, *SCORED)}
    if steps is not None:
        expected["sampling_steps"] = steps
    draws = alike_draws(_read_table(path), metrics, path, expected)
    if steps is None and draws[0]["fid"] != last["fid"]:
        raise DitbenchError(f"{path.name}: draw 0 is not the last row of {run.evaluations.name}")
    return draws


def alike_draws(
    table: Sequence[Row], metrics: Sequence[MetricFacts], path: Path, expected: Row | None = None
) -> list[Row]:
    """Draws of one model, all scored as `expected`, or else as the first."""
    draws: list[Row] = []
    for number, cells in enumerate(table):
        row = read_evaluation(cells, metrics, path)
        if cells.get("draw") != number:
            raise DitbenchError(f"{path.name}: draw {show(cells.get('draw'))} is not {number}")
        expected = expected or {name: row[name] for name in ("step", *SCORED)}
        for name, value in expected.items():
            if row[name] != value:
                is_not = f"is {show(row[name])}, not {show(value)}"
                raise DitbenchError(f"{path.name}: {name} of draw {number} {is_not}")
        draws.append(row)
    return draws


def _read_table(path: Path) -> list[Row]:
    """The rows of a CSV file, numbers as numbers, empty cells as None; refuses a damaged one."""
    try:
        content = read_text(path)
        header, *lines = csv.reader(content.splitlines(), strict=True)
    except (csv.Error, ValueError) as error:  # ValueError: not UTF-8, or no header
        raise DitbenchError(f"{path.name} is empty or not a CSV file: {error}") from error
    if not lines:
        raise DitbenchError(f"{path.name} holds no evaluation")
    # A row ends in a newline: without one, its last number may have lost digits.
    if not content.endswith("\n") or any(len(line) != len(header) for line in lines):
        raise DitbenchError(f"{path.name} is truncated or malformed")
    if len(set(header)) != len(header):
        raise DitbenchError(f"{path.name} names a column twice")
    rows = ((parse_cell(cell) if cell else None for cell in line) for line in lines)
    return [dict(zip(header, row, strict=True)) for row in rows]


def read_evaluation(cells: Row, metrics: Sequence[MetricFacts], path: Path) -> Row:
    """The facts and the metrics of one evaluation."""
    row = facts_in(path, cells, "eval")
    suffix = f"_{metric_suffix(row['samples'])}"
    for metric in metrics:
        column = (metric.column or metric.name) + suffix * metric.depends_on_samples
        # A metric that needs classes is left out, or empty, if the features have none.
        default = None if metric.name == "fid" else math.nan
        row[metric.name] = read_value(cells, column, "float64", path.name, default)
    return row


def check_final(result: Row, last: Row, file: str) -> None:
    """Refuse a table that ends elsewhere than the run did, or with another FID."""
    if last["step"] != result["steps"]:
        raise DitbenchError(f"{file} ends at step {last['step']} of {result['steps']}")
    final = result.get("final")
    if not isinstance(final, dict):
        raise DitbenchError("result.json: final is missing or not a table")
    fid = final.get(column_of("fid", metric_suffix(last["samples"]), final))
    if fid != last["fid"]:
        raise DitbenchError(f"fid is {last['fid']} in {file}, {show(fid)} in result.json")
