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

from pydantic import TypeAdapter, ValidationError

from ditbench.config import read_toml
from ditbench.errors import DitbenchError, one_line
from ditbench.files import read_json
from ditbench.report import amounts
from ditbench.report.facts import FIRST_METRICS, NAMES, SCORED, MetricFacts, is_recipe
from ditbench.report.reading.fields import flatten, number, show, text, whole
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
    _check_strategy(run, flat)
    metrics = _metrics(result, run.result.name)
    facts = {
        "path": str(run.path),
        **_result_facts(result, run.result.name),
        **_cost_facts(read_json(run.cost), run.cost.name),
        **_config_facts(flat, metrics, run.config.name),
        **read_spike(run.train),
        "backend": _backend(run),
        "metrics": _METRICS.dump_json(list(metrics)).decode(),
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


def _check_strategy(run: RunDirectory, flat: Row) -> None:
    """Refuse a copy of a block's source that is not the one that the configuration names."""
    sha256 = flat.get("strategy.sha256")
    if sha256 is None or not run.strategy.exists():
        return
    if hashlib.sha256(run.strategy.read_bytes()).hexdigest() != sha256:
        raise DitbenchError(f"{run.strategy.name} is not the source that {run.config.name} names")


def _metrics(result: Row, file: str) -> Sequence[MetricFacts]:
    """The metrics of a run. Runs of schema 1 do not describe theirs."""
    described = result.get("metrics")
    if described is None:
        return FIRST_METRICS
    try:
        metrics = _METRICS.validate_python(described)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, ("metrics", *first["loc"])))
        raise DitbenchError(f"{file}: {where}: {first['msg']}") from error
    names = [metric.name for metric in metrics]
    if "fid" not in names or len(set(names)) < len(names) or NAMES.intersection(names):
        raise DitbenchError(f"{file}: metrics lacks fid, or a name in it is taken")
    return metrics


def _result_facts(result: Row, file: str) -> Row:
    fingerprint = text(result, "fingerprint", file)
    if not re.fullmatch(r"[0-9a-f]{64}", fingerprint):
        raise DitbenchError(f"{file}: fingerprint is not 64 hex digits: {show(fingerprint)}")
    memory = math.nan
    if result.get("peak_memory_bytes") is not None:  # null if the device does not report it
        memory = whole(result, "peak_memory_bytes", file)
    return {
        "fingerprint": fingerprint,
        "peak_memory_bytes": memory,
        **{name: text(result, name, file) for name in ("preset", "block", "device")},
        **{name: whole(result, name, file) for name in ("seed", "schema", "steps")},
        **{
            name: number(result, name, file)
            for name in ("train_seconds", "steps_per_second", "samples_per_second")
        },
        # The name of a folder does not say which images are in it, nor that of a classifier how
        # it was trained.
        **{name: _optional(result, name, file) for name in ("dataset_digest", "features_digest")},
    }


def _optional(table: Row, key: str, file: str) -> str:
    return "" if table.get(key) is None else text(table, key, file)


def _cost_facts(cost: Row, file: str) -> Row:
    return {
        **{name: text(cost, name, file) for name in ("model", "input")},
        "parameters": whole(cost, "parameters", file),
        **{name: number(cost, name, file) for name in ("gmacs", "gflops")},
    }


def _config_facts(flat: Row, metrics: Sequence[MetricFacts], file: str) -> Row:
    # Not validated as a RunConfig, so that runs of older and newer versions stay readable.
    recipe = {key: value for key, value in flat.items() if is_recipe(key)}
    # A value that is computed in another way is not comparable.
    recipe |= {f"{each.name}.version": each.version for each in metrics if each.version != 1}
    return {
        "strategy": _optional(flat, "strategy.sha256", file),
        "objective": text(flat, "objective.name", file),
        "budget": _budget(flat, file),
        "dataset": text(flat, "data.name", file),
        "source": source_of(flat),
        "batch_size": whole(flat, "train.batch_size", file),
        "lr": number(flat, "train.lr", file),
        "precision": text(flat, "train.precision", file),
        "recipe": json.dumps(recipe, sort_keys=True, default=str),
    }


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
    given = [key for key in flat if key.startswith("budget.")]
    if given == ["budget.steps"]:
        return amounts.budget("steps", whole(flat, "budget.steps", file))
    if given in (["budget.flops"], ["budget.seconds"]):
        return amounts.budget(given[0].removeprefix("budget."), number(flat, given[0], file))
    raise DitbenchError(f"{file}: [budget] is not one of steps, flops and seconds")


def _backend(run: RunDirectory) -> str:
    """What computed the steps; empty where env.json does not say. Only a remark depends on it."""
    try:
        return _optional(read_json(run.environment), "backend", run.environment.name)
    except DitbenchError:
        return ""


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
    samples = whole(cells, "samples", file)
    row = {
        **{name: whole(cells, name, file) for name in ("step", "images", "sampling_steps")},
        **{
            name: number(cells, name, file)
            for name in ("train_flops", "seconds", "cfg_scale", "ema_decay")
        },
        **{name: text(cells, name, file) for name in ("features", "sampler")},
        "samples": samples,
    }
    for metric in metrics:
        column = metric_column(metric, samples)
        # A metric that needs classes is left out, or empty, if the features have none.
        missing = metric.name != "fid" and cells.get(column) is None
        row[metric.name] = math.nan if missing else number(cells, column, file)
    return row


def metric_column(metric: MetricFacts, samples: int) -> str:
    """The name of a metric's column in eval.csv."""
    return f"{metric.name}_{metric_suffix(samples)}" if metric.depends_on_samples else metric.name


def _check_last(result: Row, last: Row, file: str) -> None:
    """Refuse a table that ends elsewhere than the run did, or with another FID."""
    if last["step"] != result["steps"]:
        raise DitbenchError(f"{file} ends at step {last['step']} of {result['steps']}")
    final = result.get("final")
    if not isinstance(final, dict):
        raise DitbenchError("result.json: final is missing or not a table")
    fid = number(final, f"fid_{metric_suffix(last['samples'])}", "result.json: final")
    if not math.isclose(fid, last["fid"], rel_tol=1e-6, abs_tol=1e-12):
        raise DitbenchError(f"fid is {last['fid']} in {file}, {fid} in result.json")
