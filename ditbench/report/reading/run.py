"""One run directory to rows. Damage is an error that says where it is, never a guess."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

from ditbench import amounts
from ditbench.config import read_toml
from ditbench.config.schema import flatten
from ditbench.errors import DitbenchError, one_line
from ditbench.files import read_json
from ditbench.report.facts import BY_NAME, is_recipe
from ditbench.report.reading.environment import of_environment
from ditbench.report.reading.metrics import FIRST_METRICS, MetricFacts
from ditbench.report.reading.scores import check_final, mean_draw, read_draws, read_evaluations
from ditbench.report.reading.skipped import Kind
from ditbench.report.reading.spikes import read_spike
from ditbench.report.reading.values import Row, facts_in, read_value, show
from ditbench.report.words import PUBLISHED
from ditbench.rundir import RunDirectory

# A larger file is not one of ours. The time to parse TOML can grow with the square of its size.
MAX_BYTES = 64 * 2**20
MAX_CONFIG_BYTES = 2**15
# Characters.
_MAX_NAME = 40


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
        **facts_in(run.result, result),
        "fingerprint": read_value(result, "fingerprint", "sha256", run.result.name),
        **facts_in(run.cost, read_json(run.cost)),
        **facts_in(run.config, flat),
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
    curve = read_evaluations(run.evaluations, metrics)
    draws = read_draws(run, metrics, curve[-1], flat.get("eval.final_sampling_steps"))
    final = mean_draw(draws, metrics)
    apart = run.finals.exists()
    check_final(result, final, run.finals.name if apart else run.evaluations.name)
    facts |= {"curve_sampling_steps": curve[-1]["sampling_steps"], "draws": len(draws)}
    # One number of sampling steps per run.
    marks = {"sampling_steps": final["sampling_steps"], "final": False, "curve": True}
    rows = [facts | row | marks for row in curve]
    return [*(rows if apart else rows[:-1]), facts | final | {"final": True, "curve": not apart}]


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
