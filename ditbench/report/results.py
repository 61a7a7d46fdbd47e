"""Run directories to one tidy DataFrame. A damaged run is skipped and named, never guessed."""

from __future__ import annotations

import csv
import json
import math
import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ditbench.config import read_toml
from ditbench.errors import DitbenchError
from ditbench.report import fields
from ditbench.rundir import RunDirectory, find_runs, metric_suffix, parse_cell, read_json

if TYPE_CHECKING:
    import pandas as pd

    from ditbench.report.fields import Row

# Column -> dtype. Compute is a float because an XL/2 run passes 2**63 FLOPs; peak memory because
# it may be unknown.
COLUMNS = {
    "preset": "str",
    "block": "str",
    "seed": "int64",
    "fingerprint": "str",
    "path": "str",
    "step": "int64",
    "images": "int64",
    "train_flops": "float64",
    "seconds": "float64",
    "fid": "float64",
    "kid": "float64",
    "label_accuracy": "float64",
    "features": "str",
    "samples": "int64",
    "sampler": "str",
    "sampling_steps": "int64",
    "cfg_scale": "float64",
    "ema_decay": "float64",
    "final": "bool",
    "model": "str",
    "input": "str",
    "parameters": "int64",
    "gmacs": "float64",
    "gflops": "float64",
    "steps": "int64",
    "steps_per_second": "float64",
    "samples_per_second": "float64",
    "peak_memory_bytes": "float64",
    "device": "str",
    "train_seconds": "float64",
    "objective": "str",
    "dataset": "str",
    "dataset_digest": "str",
    "batch_size": "int64",
    "lr": "float64",
    "precision": "str",
    "recipe": "str",
}

# How an evaluation was made cannot change along a run.
_FIXED_ALONG_A_RUN = ("features", "samples", "sampler", "sampling_steps", "cfg_scale")
# What names a run or says where a file lies, but is no part of how it was trained and scored.
_NOT_RECIPE = {"preset", "block", "seed", "data.path", "metrics.inception_weights"}
_HINT = "`ditbench run --block adaln-zero` makes one"


def load_results(path: str | Path) -> pd.DataFrame:
    """Read every complete run at or below a directory.

    Args:
        path: a results directory, or one run directory.

    Returns:
        One row an evaluation, ordered by run path, then step; columns and dtypes as in `COLUMNS`.
        `fid` and `kid` are over `samples` images in `features` space (`kid` unscaled),
        `label_accuracy` is a share in 0..1 or NaN, `train_flops` are FLOPs, `seconds` are training
        seconds so far, `gmacs` and `gflops` are of one forward pass at batch 1, `final` marks the
        last row of its run, and `recipe` is the configuration without block and seed, as JSON.
        `attrs["skipped"]` is a list of (path, reason): the runs that are incomplete, damaged, or
        older duplicates (same block, seed and fingerprint).

    Raises:
        DitbenchError: no such directory, or not one complete and readable run in it.
    """
    import pandas as pd

    root = Path(path)
    if not root.is_dir():
        what = "is not a directory" if root.exists() else "does not exist"
        raise DitbenchError(f"{root} {what}", _HINT)
    runs: list[list[Row]] = []
    skipped: list[tuple[str, str]] = []
    for run in find_runs(root):
        try:
            runs.append(_read_run(run))
        except DitbenchError as error:
            skipped.append((str(run.path), error.message))
    runs, older = _newest(runs)
    skipped += older
    if not runs:
        raise _nothing_in(root, skipped)
    rows = [row for run in runs for row in run]
    frame = pd.DataFrame(
        {name: pd.Series([row[name] for row in rows], dtype=kind) for name, kind in COLUMNS.items()}
    )
    frame.attrs["skipped"] = skipped
    return frame


def _nothing_in(root: Path, skipped: list[tuple[str, str]]) -> DitbenchError:
    message = f"no complete run in {root}"
    if skipped:
        message += f" ({len(skipped)} skipped; the first, {skipped[0][0]}: {skipped[0][1]})"
    return DitbenchError(message, _HINT)


def _newest(runs: list[list[Row]]) -> tuple[list[list[Row]], list[tuple[str, str]]]:
    """Of each block, seed and fingerprint the run whose result is newest; the others, named."""
    kept: dict[tuple[Any, ...], list[Row]] = {}
    older: list[tuple[str, str]] = []
    for run in runs:
        key = (run[0]["block"], run[0]["seed"], run[0]["fingerprint"])
        old = kept.get(key)
        if old is not None:
            if _written(old) > _written(run):
                old, run = run, old
            older.append((old[0]["path"], f"duplicate: {run[0]['path']} is newer"))
        kept[key] = run
    return sorted(kept.values(), key=lambda run: run[0]["path"]), older


def _written(run: list[Row]) -> int:
    return RunDirectory(Path(run[0]["path"])).result.stat().st_mtime_ns


def _read_run(run: RunDirectory) -> list[Row]:
    if not run.is_complete():
        raise DitbenchError(f"incomplete: no {run.result.name}")
    result = run.read_result()
    config = read_toml(run.config)
    facts = {
        "path": str(run.path),
        **_result_facts(result, run.result.name),
        **_cost_facts(read_json(run.cost), run.cost.name),
        **_config_facts(config, run.config.name),
    }
    for name in ("block", "seed"):
        if name in config and config[name] != facts[name]:
            raise DitbenchError(
                f"{run.result.name} is of {name} {facts[name]!r}, "
                f"{run.config.name} of {config[name]!r}"
            )
    evaluations = _read_evaluations(run.evaluations)
    _must_end_as(result, evaluations[-1], run.evaluations.name)
    rows = [{**facts, **evaluation, "final": False} for evaluation in evaluations]
    rows[-1]["final"] = True
    return rows


def _result_facts(result: Row, file: str) -> Row:
    fingerprint = fields.text(result, "fingerprint", file)
    if not re.fullmatch(r"[0-9a-f]{64}", fingerprint):
        raise DitbenchError(f"{file}: fingerprint is not 64 hex digits: {fingerprint!r}")
    memory = math.nan
    if result.get("peak_memory_bytes") is not None:  # null where the device does not tell
        memory = fields.whole(result, "peak_memory_bytes", file)
    return {
        "preset": fields.text(result, "preset", file),
        "block": fields.text(result, "block", file),
        "seed": fields.whole(result, "seed", file),
        "fingerprint": fingerprint,
        "steps": fields.whole(result, "steps", file),
        "train_seconds": fields.number(result, "train_seconds", file),
        "steps_per_second": fields.number(result, "steps_per_second", file),
        "samples_per_second": fields.number(result, "samples_per_second", file),
        "peak_memory_bytes": memory,
        "device": fields.text(result, "device", file),
        # Of a folder the name alone does not say which images it holds.
        "dataset_digest": str(result.get("dataset_digest") or ""),
    }


def _cost_facts(cost: Row, file: str) -> Row:
    return {
        "model": fields.text(cost, "model", file),
        "input": fields.text(cost, "input", file),
        "parameters": fields.whole(cost, "parameters", file),
        "gmacs": fields.number(cost, "gmacs", file),
        "gflops": fields.number(cost, "gflops", file),
    }


def _config_facts(config: Row, file: str) -> Row:
    # Not validated as a RunConfig: runs of older and newer versions stay readable.
    flat = _flatten(config)
    recipe = {key: value for key, value in flat.items() if key not in _NOT_RECIPE}
    return {
        "objective": fields.text(flat, "objective.name", file),
        "dataset": fields.text(flat, "data.name", file),
        "batch_size": fields.whole(flat, "train.batch_size", file),
        "lr": fields.number(flat, "train.lr", file),
        "precision": fields.text(flat, "train.precision", file),
        "recipe": json.dumps(recipe, sort_keys=True, default=str),
    }


def _flatten(table: Row, prefix: str = "") -> Row:
    flat: Row = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _read_evaluations(path: Path) -> list[Row]:
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
    rows = [_evaluation(dict(zip(header, line, strict=True)), path.name) for line in lines]
    for row, following in pairwise(rows):
        if following["step"] <= row["step"]:
            raise DitbenchError(f"{path.name}: step {following['step']} comes after {row['step']}")
        changed = [name for name in _FIXED_ALONG_A_RUN if row[name] != following[name]]
        if changed:
            raise DitbenchError(f"{path.name}: {changed[0]} changes along the run")
    return rows


def _evaluation(texts: dict[str, str], file: str) -> Row:
    cells = {name: parse_cell(text) for name, text in texts.items()}
    samples = fields.whole(cells, "samples", file)
    accuracy = math.nan
    if texts.get("label_accuracy"):  # an extractor without classes leaves it out, or empty
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
        "features": fields.text(texts, "features", file),
        "samples": samples,
        "sampler": fields.text(texts, "sampler", file),
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
