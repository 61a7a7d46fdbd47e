"""One run directory to rows. What is damaged is an error that says where, never a guess."""

from __future__ import annotations

import csv
import functools
import hashlib
import json
import math
import re
import stat
import tomllib
from itertools import pairwise
from typing import TYPE_CHECKING

from ditbench.config import read_toml
from ditbench.errors import DitbenchError
from ditbench.files import read_json
from ditbench.report import amounts, fields
from ditbench.report.crosscheck import check_cells, crosscheck
from ditbench.report.images import source_of
from ditbench.report.spikes import read_spike
from ditbench.rows import parse_cell
from ditbench.rundir import metric_suffix

if TYPE_CHECKING:
    from pathlib import Path

    from ditbench.report.fields import Row
    from ditbench.rundir import RunDirectory

# Far above any run's; a file that is larger is not one of ours. Of a configuration less is enough,
# and the time to read one can grow with the square of its size.
MAX_BYTES = 64 * 2**20
MAX_CONFIG_BYTES = 2**15
# How an evaluation was made cannot change along a run.
_FIXED_ALONG_A_RUN = ("ema_decay", "features", "samples", "sampler", "sampling_steps", "cfg_scale")
# What names a run or says where a file lies, and what has a column of its own: no part of the
# rest of a configuration, its recipe.
_NOT_RECIPE = {
    "preset",
    "block",
    "seed",
    "data.name",
    "data.path",
    "data.digest",
    "model.hidden_size",
    "model.depth",
    "model.num_heads",
    "model.patch_size",
    "objective.name",
    "budget.steps",
    "budget.flops",
    "budget.seconds",
    "train.batch_size",
    "train.lr",
    "train.ema_decay",
    "train.precision",
    "eval.samples",
    "eval.sampler",
    "eval.sampling_steps",
    "eval.cfg_scale",
    "metrics.features",
    "metrics.inception_weights",
}


def read_run(run: RunDirectory) -> list[Row]:
    """The evaluations of one run, each a row with the facts of its run; the last is `final`.

    Raises:
        DitbenchError: incomplete, or damaged: the file and what is wrong with it are named.
    """
    try:
        return _read_run(run)
    except RecursionError as error:  # JSON and TOML can be nested without end
        raise DitbenchError("one of its files is nested too deeply to be read") from error
    except OSError as error:
        raise DitbenchError(f"cannot be read: {error.strerror or error}") from error


def _read_run(run: RunDirectory) -> list[Row]:
    if not run.is_complete():
        raise DitbenchError(f"incomplete: no {run.result.name}")
    for path in (run.result, run.config, run.cost, run.evaluations, run.train):
        _must_be_a_table(path)
    result = run.read_result()
    config = _read_config(run.config)
    cost = read_json(run.cost)
    flat = fields.flatten(config)
    _check_strategy(run, flat)
    facts = {
        "path": str(run.path),
        **_result_facts(result, run.result.name),
        **_cost_facts(cost, run.cost.name),
        **_config_facts(flat, run.config.name),
        **read_spike(run.train),
    }
    for name in ("preset", "block", "seed"):
        if name in config and config[name] != facts[name]:
            raise DitbenchError(
                f"{run.result.name} is of {name} {fields.show(facts[name])}, "
                f"{run.config.name} of {fields.show(config[name])}"
            )
    cells, evaluations = _read_evaluations(run.evaluations)
    _must_end_as(result, evaluations[-1], run.evaluations.name)
    check_cells(cells, result)
    crosscheck(flat, cost, result, evaluations)
    rows = [{**facts, **evaluation, "final": False} for evaluation in evaluations]
    rows[-1]["final"] = True
    return rows


def _check_strategy(run: RunDirectory, flat: Row) -> None:
    """The copy of a strategy's source, where there is one, is that of the configuration."""
    sha256 = flat.get("strategy.sha256")
    if sha256 is None or not run.strategy.exists():
        return
    _must_be_a_table(run.strategy)
    if hashlib.sha256(run.strategy.read_bytes()).hexdigest() != sha256:
        raise DitbenchError(f"{run.strategy.name} is not the source that {run.config.name} names")


def _must_be_a_table(path: Path) -> None:
    """Refuse what would be waited for (a pipe), or would fill the memory (a device, a bomb)."""
    try:
        facts = path.stat()
    except OSError:
        return  # reading it says what is wrong
    if stat.S_ISDIR(facts.st_mode):
        return
    if not stat.S_ISREG(facts.st_mode):
        raise DitbenchError(f"{path.name} is not a file, but a pipe, a socket or a device")
    size = facts.st_size
    if size > (MAX_CONFIG_BYTES if path.suffix == ".toml" else MAX_BYTES):
        raise DitbenchError(f"{path.name} is too large: {size:,} bytes")


def _read_config(path: Path) -> Row:
    """The configuration of a run: of a thousand runs most share all but the keys at its top.

    Those are parsed by themselves and the tables after them once. Where that is not what the whole
    means (a text over several lines, a table that is opened twice), the whole is parsed.
    """
    try:
        top, _, rest = path.read_text("utf-8").partition("\n[")
        head, tables = tomllib.loads(top), _parse_tables(f"[{rest}")
    except (OSError, ValueError):
        return read_toml(path)
    return read_toml(path) if head.keys() & tables.keys() else {**head, **tables}


@functools.lru_cache(maxsize=256)
def _parse_tables(text: str) -> Row:
    return tomllib.loads(text)


def _result_facts(result: Row, file: str) -> Row:
    fingerprint = fields.text(result, "fingerprint", file)
    if not re.fullmatch(r"[0-9a-f]{64}", fingerprint):
        raise DitbenchError(f"{file}: fingerprint is not 64 hex digits: {fields.show(fingerprint)}")
    memory = math.nan
    if result.get("peak_memory_bytes") is not None:  # null where the device does not tell
        memory = fields.whole(result, "peak_memory_bytes", file)
    return {
        "preset": fields.text(result, "preset", file),
        "block": fields.text(result, "block", file),
        "seed": fields.whole(result, "seed", file),
        "fingerprint": fingerprint,
        "schema": fields.whole(result, "schema", file),
        "steps": fields.whole(result, "steps", file),
        "train_seconds": fields.number(result, "train_seconds", file),
        "steps_per_second": fields.number(result, "steps_per_second", file),
        "samples_per_second": fields.number(result, "samples_per_second", file),
        "peak_memory_bytes": memory,
        "device": fields.text(result, "device", file),
        # Of a folder the name alone does not say which images it holds.
        "dataset_digest": _optional(result, "dataset_digest", file),
        # Of a classifier that was trained again neither.
        "features_digest": _optional(result, "features_digest", file),
    }


def _optional(table: Row, key: str, file: str) -> str:
    return "" if table.get(key) is None else fields.text(table, key, file)


def _cost_facts(cost: Row, file: str) -> Row:
    return {
        "model": fields.text(cost, "model", file),
        "input": fields.text(cost, "input", file),
        "parameters": fields.whole(cost, "parameters", file),
        "gmacs": fields.number(cost, "gmacs", file),
        "gflops": fields.number(cost, "gflops", file),
    }


def _config_facts(flat: Row, file: str) -> Row:
    # Not validated as a RunConfig: runs of older and newer versions stay readable.
    recipe = {key: value for key, value in flat.items() if key not in _NOT_RECIPE}
    # A strategy's options are part of the strategy, and tell two of one name apart by fingerprint;
    # and its source, where it is not ditbench's own, tells two of one name apart in theirs.
    recipe = {
        key: value for key, value in recipe.items() if not key.startswith(("options.", "strategy."))
    }
    return {
        "strategy": _optional(flat, "strategy.sha256", file),
        "objective": fields.text(flat, "objective.name", file),
        "budget": _budget(flat, file),
        "dataset": fields.text(flat, "data.name", file),
        "source": source_of(flat),
        "batch_size": fields.whole(flat, "train.batch_size", file),
        "lr": fields.number(flat, "train.lr", file),
        "precision": fields.text(flat, "train.precision", file),
        "recipe": json.dumps(recipe, sort_keys=True, default=str),
    }


def _budget(flat: Row, file: str) -> str:
    """How long training was to be, as people write it: equal texts are equal budgets."""
    given = [key for key in flat if key.startswith("budget.")]
    if given == ["budget.steps"]:
        return f"{fields.whole(flat, 'budget.steps', file):,} steps"
    if given == ["budget.flops"]:
        return amounts.flops(fields.number(flat, "budget.flops", file))
    if given == ["budget.seconds"]:
        return amounts.seconds(fields.number(flat, "budget.seconds", file))
    raise DitbenchError(f"{file}: [budget] is not one of steps, flops and seconds")


def _read_evaluations(path: Path) -> tuple[list[Row], list[Row]]:
    """The cells of eval.csv, a row each, and what they say under the names of `COLUMNS`."""
    try:
        text = path.read_text("utf-8")
        header, *lines = csv.reader(text.splitlines(), strict=True)
    except OSError as error:
        raise DitbenchError(f"cannot read {path.name}: {error.strerror}") from error
    except (csv.Error, ValueError) as error:  # ValueError: not UTF-8, or no header
        raise DitbenchError(f"{path.name} is empty or not a CSV file: {error}") from error
    if not lines:
        raise DitbenchError(f"{path.name} holds no evaluation")
    # Each row is written with its newline: without one, the last number may have lost digits.
    if not text.endswith("\n") or any(len(line) != len(header) for line in lines):
        raise DitbenchError(f"{path.name} is truncated or malformed")
    if len(set(header)) != len(header):
        raise DitbenchError(f"{path.name} names a column twice")
    cells = [
        {name: parse_cell(text) if text else None for name, text in zip(header, line, strict=True)}
        for line in lines
    ]
    rows = [_evaluation(row, path.name) for row in cells]
    for row, following in pairwise(rows):
        if following["step"] <= row["step"]:
            raise DitbenchError(f"{path.name}: step {following['step']} comes after {row['step']}")
        changed = [name for name in _FIXED_ALONG_A_RUN if row[name] != following[name]]
        if changed:
            raise DitbenchError(f"{path.name}: {changed[0]} changes along the run")
    return cells, rows


def _evaluation(cells: Row, file: str) -> Row:
    samples = fields.whole(cells, "samples", file)
    accuracy = math.nan
    # An extractor without classes leaves it out, or empty.
    if cells.get("label_accuracy") is not None:
        accuracy = fields.number(cells, "label_accuracy", file)
        if not 0 <= accuracy <= 1:
            raise DitbenchError(f"{file}: label_accuracy is not a share: {accuracy}")
    return {
        "step": fields.whole(cells, "step", file),
        "images": fields.whole(cells, "images", file),
        "train_flops": fields.number(cells, "train_flops", file),
        "seconds": fields.number(cells, "seconds", file),
        "fid": fields.number(cells, f"fid_{metric_suffix(samples)}", file),
        "kid": fields.number(cells, f"kid_{metric_suffix(samples)}", file),
        "label_accuracy": accuracy,
        "features": fields.text(cells, "features", file),
        "samples": samples,
        "sampler": fields.text(cells, "sampler", file),
        "sampling_steps": fields.whole(cells, "sampling_steps", file),
        "cfg_scale": fields.number(cells, "cfg_scale", file),
        "ema_decay": fields.number(cells, "ema_decay", file),
    }


def _must_end_as(result: Row, last: Row, file: str) -> None:
    """A table that lost its last rows reads well; only `result.json` can tell."""
    if last["step"] != result["steps"]:
        raise DitbenchError(f"{file} ends at step {last['step']} of {result['steps']}")
    final = result.get("final")
    if not isinstance(final, dict):
        raise DitbenchError("result.json: final is missing or not a table")
    suffix = metric_suffix(last["samples"])
    for name in ("fid", "kid"):
        told = fields.number(final, f"{name}_{suffix}", "result.json: final")
        if not math.isclose(told, last[name], rel_tol=1e-6, abs_tol=1e-12):
            raise DitbenchError(f"{name} is {last[name]} in {file}, {told} in result.json")
