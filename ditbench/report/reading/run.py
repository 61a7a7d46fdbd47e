"""One run directory to rows. Damage is an error that says where it is, never a guess."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
import stat
from itertools import pairwise
from typing import TYPE_CHECKING

from pydantic import ConfigDict, Field, TypeAdapter

from ditbench.config import read_toml
from ditbench.errors import DitbenchError, one_line
from ditbench.files import read_json
from ditbench.report import amounts
from ditbench.report.facts import BY_NAME, FIRST_METRICS, SCORED, MetricFacts, is_recipe
from ditbench.report.reading.fields import Finite, Table, Text, Whole, flatten, parse, show
from ditbench.report.reading.spikes import read_spike
from ditbench.report.words import PUBLISHED
from ditbench.rows import parse_cell
from ditbench.rundir import metric_suffix

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ditbench.report.reading.fields import Row
    from ditbench.rundir import RunDirectory

# A larger file is not one of ours. The time to parse TOML can grow with the square of its size.
MAX_BYTES = 64 * 2**20
MAX_CONFIG_BYTES = 2**15
_MAX_NAME = 40  # characters


class _Result(Table):
    """What is read of result.json."""

    preset: Text
    block: Text
    seed: Whole
    fingerprint: str = Field(pattern=r"^[0-9a-f]{64}$")
    steps: Whole
    train_seconds: Finite
    steps_per_second: Finite
    samples_per_second: Finite
    peak_memory_bytes: Whole | float = math.nan  # null if the device does not report it
    device: Text
    # The name of a folder does not say which images are in it, nor that of a classifier how it was
    # trained.
    dataset_digest: str = ""
    features_digest: str = ""


class _Cost(Table):
    """What is read of cost.json."""

    model: Text
    input: Text
    parameters: Whole
    gmacs: Finite
    gflops: Finite


class _Config(Table):
    """What is read of config.toml. Not a RunConfig, so that runs of other versions are readable."""

    source_sha256: str = Field(default="", alias="strategy.sha256")
    objective: Text = Field(alias="objective.name")
    dataset: Text = Field(alias="data.name")
    batch_size: Whole = Field(alias="train.batch_size")
    lr: Finite = Field(alias="train.lr")
    precision: Text = Field(alias="train.precision")


class _Evaluation(Table):
    """What is read of a row of eval.csv, besides its metrics."""

    step: Whole
    images: Whole
    train_flops: Finite
    seconds: Finite
    features: Text
    samples: Whole
    sampler: Text
    sampling_steps: Whole
    cfg_scale: Finite
    ema_decay: Finite


_RESULT, _COST, _CONFIG = TypeAdapter(_Result), TypeAdapter(_Cost), TypeAdapter(_Config)
_EVALUATION = TypeAdapter(_Evaluation)
_VALUES = TypeAdapter(dict[str, Finite], config=ConfigDict(strict=True))
_METRICS = TypeAdapter(list[MetricFacts])


def read_run(run: RunDirectory) -> list[Row]:
    """The evaluations of one run, one row each, with the facts of the run; the last is `final`.

    Raises:
        DitbenchError: the run is incomplete or damaged; names the file and what is wrong with it.
    """
    try:
        return _read_run(run)
    except RecursionError as error:  # from JSON and TOML
        raise DitbenchError("one of its files is nested too deeply to be read") from error
    except OSError as error:
        raise DitbenchError(f"cannot be read: {error.strerror or error}") from error


def _read_run(run: RunDirectory) -> list[Row]:
    if not run.is_complete():
        raise DitbenchError(f"incomplete: no {run.result.name}")
    for path in (run.result, *run.recorded, run.strategy):
        _check_file(path)
    result = run.read_result()
    run.check_recorded(result)
    config = read_toml(run.config)
    flat = flatten(config)
    _check_source(run, flat)
    metrics = _metrics(result, run.result.name)
    facts = {
        "path": str(run.path),
        "schema": result["schema"],
        **parse(_RESULT, result, run.result.name).model_dump(),
        **parse(_COST, read_json(run.cost), run.cost.name).model_dump(),
        **parse(_CONFIG, flat, run.config.name).model_dump(),
        "budget": _budget(flat, run.config.name),
        "source": source_of(flat),
        "recipe": _recipe(flat, metrics),
        **read_spike(run.train),
        "backend": _backend(run),
        "metrics": _METRICS.dump_json(metrics).decode(),
    }
    for name in ("preset", "block", "seed"):
        if name in config and config[name] != facts[name]:
            raise DitbenchError(
                f"{run.result.name} is of {name} {show(facts[name])}, "
                f"{run.config.name} of {show(config[name])}"
            )
    evaluations = _read_evaluations(run.evaluations, metrics)
    _check_last(result, evaluations[-1], run.evaluations.name)
    rows = [{**facts, **evaluation, "final": False} for evaluation in evaluations]
    rows[-1]["final"] = True
    return rows


def _check_file(path: Path) -> None:
    """Refuse a file that would block (a pipe) or fill the memory (a device)."""
    try:
        facts = path.stat()
    except OSError:
        return  # reading it says what is wrong
    if stat.S_ISDIR(facts.st_mode):
        return
    if not stat.S_ISREG(facts.st_mode):
        raise DitbenchError(f"{path.name} is not a file, but a pipe, a socket or a device")
    if facts.st_size > (MAX_CONFIG_BYTES if path.suffix == ".toml" else MAX_BYTES):
        raise DitbenchError(f"{path.name} is too large: {facts.st_size:,} bytes")


def _check_source(run: RunDirectory, flat: Row) -> None:
    """Refuse a copy of a block's source that is not the one that the configuration names."""
    sha256 = flat.get("strategy.sha256")
    if sha256 is None or not run.strategy.exists():
        return
    if hashlib.sha256(run.strategy.read_bytes()).hexdigest() != sha256:
        raise DitbenchError(f"{run.strategy.name} is not the source that {run.config.name} names")


def _metrics(result: Row, file: str) -> list[MetricFacts]:
    """The metrics of a run. Runs of schema 1 do not describe theirs."""
    if result.get("metrics") is None:
        return list(FIRST_METRICS)
    metrics = parse(_METRICS, result["metrics"], f"{file}: metrics")
    names = [metric.name for metric in metrics]
    if "fid" not in names or len(set(names)) < len(names) or BY_NAME.keys() & set(names):
        raise DitbenchError(f"{file}: metrics lacks fid, or a name in it is taken")
    return metrics


def _recipe(flat: Row, metrics: Sequence[MetricFacts]) -> str:
    """The part of a configuration that no other column holds, as JSON."""
    recipe = {key: value for key, value in flat.items() if is_recipe(key)}
    # A value that is computed in another way is not comparable.
    recipe |= {f"{each.name}.version": each.version for each in metrics if each.version != 1}
    return json.dumps(recipe, sort_keys=True, default=str)


def source_of(flat: Row) -> str:
    """The name of a run's images: the data set, or the file or folder that they were read from.

    Args:
        flat: the run's configuration with dotted keys.
    """
    name, path = str(flat.get("data.name")), flat.get("data.path")
    if name in PUBLISHED or not isinstance(path, str):
        return name
    parts = [part for part in re.split(r"[/\\]", path) if part not in ("", ".", "..")]
    return one_line(parts[-1], _MAX_NAME) if parts else name


def _budget(flat: Row, file: str) -> str:
    given = {key: value for key, value in flat.items() if key.startswith("budget.")}
    if len(given) != 1 or not given.keys() <= {"budget.steps", "budget.flops", "budget.seconds"}:
        raise DitbenchError(f"{file}: [budget] is not one of steps, flops and seconds")
    ((key, amount),) = parse(_VALUES, given, file).items()
    unit = key.removeprefix("budget.")
    return amounts.budget(unit, int(amount) if unit == "steps" else amount)


def _backend(run: RunDirectory) -> str:
    """What computed the steps; empty where env.json does not say. Only a remark depends on it."""
    try:
        backend = read_json(run.environment).get("backend")
    except DitbenchError:
        return ""
    return backend if isinstance(backend, str) else ""


def _read_evaluations(path: Path, metrics: Sequence[MetricFacts]) -> list[Row]:
    try:
        content = path.read_text("utf-8")
        header, *lines = csv.reader(content.splitlines(), strict=True)
    except OSError as error:
        raise DitbenchError(f"cannot read {path.name}: {error.strerror}") from error
    except (csv.Error, ValueError) as error:  # ValueError: not UTF-8, or no header
        raise DitbenchError(f"{path.name} is empty or not a CSV file: {error}") from error
    if not lines:
        raise DitbenchError(f"{path.name} holds no evaluation")
    # A row ends in a newline: without one, its last number may have lost digits.
    if not content.endswith("\n") or any(len(line) != len(header) for line in lines):
        raise DitbenchError(f"{path.name} is truncated or malformed")
    if len(set(header)) != len(header):
        raise DitbenchError(f"{path.name} names a column twice")
    cells = [
        {name: parse_cell(cell) if cell else None for name, cell in zip(header, line, strict=True)}
        for line in lines
    ]
    rows = [_evaluation(row, metrics, path.name) for row in cells]
    for row, following in pairwise(rows):
        if following["step"] <= row["step"]:
            raise DitbenchError(f"{path.name}: step {following['step']} comes after {row['step']}")
        changed = [name for name in SCORED if row[name] != following[name]]
        if changed:
            raise DitbenchError(f"{path.name}: {changed[0]} changes along the run")
    return rows


def _evaluation(cells: Row, metrics: Sequence[MetricFacts], file: str) -> Row:
    row = parse(_EVALUATION, cells, file).model_dump()
    columns = {metric.name: _column(metric, row["samples"]) for metric in metrics}
    given = {name: cells.get(name) for name in columns.values()}
    values = parse(_VALUES, given, file)
    if columns["fid"] not in values:
        raise DitbenchError(f"{file}: {columns['fid']} is missing")
    # A metric that needs classes is left out, or empty, if the features have none.
    return row | {name: values.get(column, math.nan) for name, column in columns.items()}


def _column(metric: MetricFacts, samples: int) -> str:
    """The name of a metric's column in eval.csv."""
    return f"{metric.name}_{metric_suffix(samples)}" if metric.depends_on_samples else metric.name


def _check_last(result: Row, last: Row, file: str) -> None:
    """Refuse a table that ends elsewhere than the run did, or with another FID."""
    if last["step"] != result["steps"]:
        raise DitbenchError(f"{file} ends at step {last['step']} of {result['steps']}")
    final = result.get("final")
    if not isinstance(final, dict):
        raise DitbenchError("result.json: final is missing or not a table")
    fid = final.get(f"fid_{metric_suffix(last['samples'])}")
    if fid != last["fid"]:
        raise DitbenchError(f"fid is {last['fid']} in {file}, {show(fid)} in result.json")
