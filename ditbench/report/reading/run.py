"""One run directory to rows. Damage is an error that says where it is, never a guess."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from ditbench import amounts
from ditbench.config import read_toml
from ditbench.config.schema import flatten
from ditbench.distances import column_of
from ditbench.errors import DitbenchError, one_line
from ditbench.files import read_json, read_text
from ditbench.report.facts import BY_NAME, FACTS, SCORED, is_recipe
from ditbench.report.reading.environment import of_environment
from ditbench.report.reading.metrics import FIRST_METRICS, MetricFacts
from ditbench.report.reading.skipped import Kind
from ditbench.report.reading.spikes import read_spike
from ditbench.report.reading.values import Row, read_value, show
from ditbench.report.words import PUBLISHED
from ditbench.rows import parse_cell
from ditbench.rundir import RunDirectory, metric_suffix

# A larger file is not one of ours. The time to parse TOML can grow with the square of its size.
MAX_BYTES = 64 * 2**20
MAX_CONFIG_BYTES = 2**15
# Characters.
_MAX_NAME = 40
# Where in training a row of eval.csv or final.csv is.
_PLACE = ("step", "images", "train_flops", "seconds")

_BY_FILE = {name: [fact for fact in FACTS if fact.file == name]
            for name in ("result", "cost", "config", "eval")}  # fmt: skip
# What a file may lack. Memory is null if the device does not report it.
_DEFAULTS = {
    "dataset_digest": "",
    "features_digest": "",
    "peak_memory_bytes": math.nan,
    "skipped_updates": 0,
    "eval_seconds": math.nan,
}


def read_run(run: RunDirectory) -> list[Row]:
    """The evaluations of one run, one row each, with the facts of the run; the last is `final`.

    It is the mean over the draws of final.csv where that exists, and then not part of the `curve`.
    A DitbenchError if the run is incomplete or damaged: names the file and what is wrong with it.
    """
    try:
        return _read_run(run)
    except RecursionError as error:  # from JSON and TOML
        raise DitbenchError("one of its files is nested too deeply to be read") from error
    except OSError as error:
        file = Path(error.filename or "it").name
        raise DitbenchError(f"cannot read {file}: {error.strerror or error}") from error


def _read_run(run: RunDirectory) -> list[Row]:
    if not run.is_complete():
        check_file(run.failure)
        if reason := run.failed_because():
            raise DitbenchError(Kind.FAILED.because(reason))
        raise DitbenchError(Kind.INCOMPLETE.because(f"no {run.result.name}"))
    check_files(run)
    result = run.read_result()
    run.check_recorded(result)
    config = read_toml(run.config)
    flat = flatten(config)
    source = read_value(flat, "strategy.sha256", "str", run.config.name, "")
    copied = source and run.strategy.exists()
    if copied and hashlib.sha256(run.strategy.read_bytes()).hexdigest() != source:
        raise DitbenchError(f"{run.strategy.name} is not the source that {run.config.name} names")
    metrics = read_metrics(result, run.result.name)
    recipe = {key: value for key, value in flat.items() if is_recipe(key)}
    facts = {
        "path": str(run.path),
        "evaluation": "",
        "written": run.result.stat().st_mtime_ns,
        "schema": result["schema"],
        **_facts(run.result, result),
        "fingerprint": read_value(result, "fingerprint", "sha256", run.result.name),
        **_facts(run.cost, read_json(run.cost)),
        **_facts(run.config, flat),
        "source_sha256": source,
        "budget": _budget(flat, run.config.name),
        "source": source_of(flat),
        "recipe": write_recipe(recipe, metrics),
        **read_spike(run.train),
        **of_environment(run, result["device"], flat),
        "metrics": json.dumps([metric.model_dump() for metric in metrics]),
        "real_images": _real_images(result),
    }
    for name in ("preset", "block", "seed"):
        if name in config and config[name] != facts[name]:
            of = f"{name} {show(facts[name])}, {run.config.name} of {show(config[name])}"
            raise DitbenchError(f"{run.result.name} is of {of}")
    curve = _read_evaluations(run.evaluations, metrics)
    draws = _read_draws(run, metrics, curve[-1], flat.get("eval.final_sampling_steps"))
    final = mean_draw(draws, metrics)
    apart = run.finals.exists()
    _check_final(result, final, run.finals.name if apart else run.evaluations.name)
    facts |= {"curve_sampling_steps": curve[-1]["sampling_steps"], "draws": len(draws)}
    # One number of sampling steps per run.
    marks = {"sampling_steps": final["sampling_steps"], "final": False, "curve": True}
    rows = [facts | row | marks for row in curve]
    return [*(rows if apart else rows[:-1]), facts | final | {"final": True, "curve": not apart}]


def mean_draw(draws: Sequence[Row], metrics: Sequence[MetricFacts]) -> Row:
    """The first of several draws, with the means of all metrics."""
    return draws[0] | {each.name: fmean(row[each.name] for row in draws) for each in metrics}


def _facts(path: Path, values: Row, file: str | None = None) -> Row:
    """The facts that one of the files holds. In a configuration they have other names."""
    row: Row = {}
    name, of_config = path.name, path.suffix == ".toml"
    for fact in _BY_FILE[file or path.stem]:
        key = fact.keys[0] if of_config else fact.name
        row[fact.name] = read_value(values, key, fact.dtype, name, _DEFAULTS.get(fact.name))
    return row


def check_files(run: RunDirectory) -> None:
    """Refuse a run with a file that would block a reader, or fill the memory."""
    for path in (run.result, *run.recorded, run.strategy):
        check_file(path)


def check_file(path: Path) -> None:
    """Refuse a file that would block (a pipe) or fill the memory (a device)."""
    if path.is_file():
        size = path.stat().st_size
        if size > (MAX_CONFIG_BYTES if path.suffix == ".toml" else MAX_BYTES):
            raise DitbenchError(f"{path.name} is too large: {size:,} bytes")
    elif path.exists() and not path.is_dir():  # of others, reading says what is wrong
        raise DitbenchError(f"{path.name} is not a file, but a pipe, a socket or a device")


def read_metrics(result: Row, file: str) -> Sequence[MetricFacts]:
    """The metrics of a run. Runs of schema 1 do not describe theirs."""
    metrics: Sequence[MetricFacts] = read_value(result, "metrics", "metrics", file, FIRST_METRICS)
    metrics = [metric.in_tables() for metric in metrics]
    names = [metric.name for metric in metrics]
    if "fid" not in names or len(set(names)) < len(names) or BY_NAME.keys() & set(names):
        raise DitbenchError(f"{file}: metrics lacks fid, or a name in it is taken")
    return metrics


def _real_images(result: Row) -> float:
    """The number of real images that samples were compared with; NaN if it is not recorded."""
    scoring = result.get("scoring")
    number = scoring.get("real_images") if isinstance(scoring, dict) else None
    return float(number) if type(number) is int and 0 < number < 2**53 else math.nan


def write_recipe(recipe: Row, metrics: Sequence[MetricFacts]) -> str:
    """The configuration keys without a column of their own, as JSON, with the version of FID.

    Of other metrics that differ in their version, tables leave out the values.
    """
    fid = next(metric for metric in metrics if metric.name == "fid")
    version = {} if fid.version == 1 else {"fid.version": fid.version}
    return json.dumps(recipe | version, sort_keys=True, default=str)


def source_of(flat: Row) -> str:
    """The name of a run's images: the data set, or the file or folder that they were read from."""
    name, path = str(flat.get("data.name")), flat.get("data.path")
    if name in PUBLISHED or not isinstance(path, str):
        return name
    parts = [part for part in re.split(r"[/\\]", path) if part not in ("", ".", "..")]
    return one_line(parts[-1], _MAX_NAME) if parts else name


def _budget(flat: Row, file: str) -> str:
    units = [key.removeprefix("budget.") for key in flat if key.startswith("budget.")]
    if len(units) != 1 or units[0] not in ("steps", "flops", "seconds"):
        raise DitbenchError(f"{file}: [budget] is not one of steps, flops and seconds")
    amount = read_value(flat, f"budget.{units[0]}", "float64", file)
    return amounts.budget(units[0], amount)


def _read_evaluations(path: Path, metrics: Sequence[MetricFacts]) -> list[Row]:
    rows = [read_evaluation(row, metrics, path) for row in _read_table(path)]
    for row, following in pairwise(rows):
        if following["step"] <= row["step"]:
            raise DitbenchError(f"{path.name}: step {following['step']} comes after {row['step']}")
        if changed := [name for name in SCORED if row[name] != following[name]]:
            raise DitbenchError(f"{path.name}: {changed[0]} changes along the run")
    return rows


def _read_draws(
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
    row = _facts(path, cells, "eval")
    suffix = f"_{metric_suffix(row['samples'])}"
    for metric in metrics:
        column = (metric.column or metric.name) + suffix * metric.depends_on_samples
        # A metric that needs classes is left out, or empty, if the features have none.
        default = None if metric.name == "fid" else math.nan
        row[metric.name] = read_value(cells, column, "float64", path.name, default)
    return row


def _check_final(result: Row, last: Row, file: str) -> None:
    """Refuse a table that ends elsewhere than the run did, or with another FID."""
    if last["step"] != result["steps"]:
        raise DitbenchError(f"{file} ends at step {last['step']} of {result['steps']}")
    final = result.get("final")
    if not isinstance(final, dict):
        raise DitbenchError("result.json: final is missing or not a table")
    fid = final.get(column_of("fid", metric_suffix(last["samples"]), final))
    if fid != last["fid"]:
        raise DitbenchError(f"fid is {last['fid']} in {file}, {show(fid)} in result.json")
