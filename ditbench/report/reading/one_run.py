"""What the files of one run say of it, complete or not: for `list`, `show` and `diff`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

from ditbench.config import RunConfig, load, presets, read_toml, validate
from ditbench.config.schema import flatten
from ditbench.distances import column_of
from ditbench.errors import DitbenchError
from ditbench.files import read_json
from ditbench.report.reading.run import check_files, read_run
from ditbench.report.reading.values import Row, read_value
from ditbench.rows import read_rows
from ditbench.rundir import RunDirectory, metric_suffix


def summary(run: RunDirectory) -> Row:
    """Block, seed, how far training is, the last FID, and the bytes of all files.

    `step` is the last one in the log, `steps` that of the end (None under a budget of seconds),
    `done` the share of the budget that is used, 0 to 1, `features` are those of the FID; each is
    None if it is not known. A DitbenchError if a file is damaged.
    """
    check_files(run)
    place = run.path.absolute()
    seed = re.match(r"seed(\d+)-", place.name)
    logged = read_rows(run.train)
    last = _facts_of(logged[-1], run.train.name) if logged else {}
    # There is none if a job has not begun. The directory may have been renamed.
    config = validate(read_toml(run.config)) if run.config.is_file() else None
    steps, share = _progress(run, config, last) if config else (None, None)
    scores = run.read_finals() or run.read_evaluations()[-1:]
    return {
        "block": config.block if config else place.parent.name,
        "seed": config.seed if config else int(seed[1]) if seed else None,
        "step": last.get("step"),
        "steps": steps,
        "done": 1.0 if run.is_complete() else share,
        "fid": _fid(scores, run),
        "features": scores[-1].get("features") if scores else None,
        "bytes": sum(file.lstat().st_size for file in _files(run.path)),
        "path": str(run.path),
    }


def _progress(run: RunDirectory, config: RunConfig, last: Row) -> tuple[int | None, float | None]:
    """The steps of the whole run, and the share of the budget that is used."""
    budget, steps, step = config.budget, config.budget.steps, last.get("step", 0)
    if budget.seconds is not None:
        return None, min(1.0, last.get("seconds", 0) / budget.seconds)
    if budget.flops is not None:
        cost, names = read_json(run.cost), ("train_flops", "train_flops_per_image")
        whole, of_image = (read_value(cost, name, "float64", run.cost.name) for name in names)
        steps = round(whole / (of_image * config.train.batch_size)) if of_image else None
    return steps, step / steps if steps else None


def _fid(rows: list[Row], run: RunDirectory) -> float | None:
    """The FID of the last evaluation, or the mean over the draws of the final score."""
    try:
        fids = [row[column_of("fid", metric_suffix(row["samples"]), row)] for row in rows]
        return fmean(fids) if fids else None
    except (KeyError, TypeError) as error:
        raise DitbenchError(f"{run.evaluations.name} has no FID") from error


def last_score(run: RunDirectory) -> Row:
    """The facts of `load_results` for the final score of a complete run.

    Of another run, they are block, seed, and the step, the FID and the like of the last evaluation;
    None if there is none. A DitbenchError if a file is damaged.
    """
    if run.is_complete():
        return read_run(run)[-1]
    facts = summary(run)
    rows = run.read_evaluations()
    return facts | _facts_of(rows[-1], run.evaluations.name) if rows else facts


def _facts_of(row: Row, file: str) -> Row:
    """Those cells of a row of train.csv or eval.csv that are used here, with their types."""
    types = {"step": "int64", "seconds": "float64", "samples": "int64", "features": "str"}
    return {key: read_value(row, key, types[key], file) for key in types if key in row}


def settings(run: RunDirectory) -> tuple[str, list[Row]]:
    """The preset, and the settings that differ from it: rows of `key`, `value` and `preset`.

    Of a run whose preset is not ditbench's own, these are all settings, and the name is empty.
    """
    config = validate(read_toml(run.config))
    known = config.preset in presets()
    names = {"preset", "block", "seed", "data.digest"}
    values = flatten(config.model_dump(mode="json"))
    before = flatten(load(config.preset).model_dump(mode="json")) if known else {}
    rows = [
        {"key": key, "value": value, "preset": before.get(key)}
        for key, value in values.items()
        if value != before.get(key) and key not in names
    ]
    return config.preset if known else "", rows


def environment(run: RunDirectory) -> list[Row]:
    """Where and with what a run was made: rows of `key` and `value`; all packages are one."""
    facts = read_json(run.environment)
    packages = facts.pop("packages", None)
    rows = flatten(facts)
    if isinstance(packages, dict):
        rows["packages"] = ", ".join(f"{name} {version}" for name, version in packages.items())
    return [{"key": key, "value": value} for key, value in rows.items() if value is not None]


def files(run: RunDirectory) -> list[Row]:
    """The files of a run, and its folders as one each: rows of `name`, `number` and `bytes`."""
    rows: list[Row] = []
    for path in sorted(run.path.iterdir()):
        if path.is_dir():
            sizes = [file.lstat().st_size for file in _files(path)]
            rows.append({"name": f"{path.name}/", "number": len(sizes), "bytes": sum(sizes)})
        else:
            rows.append({"name": path.name, "number": None, "bytes": path.lstat().st_size})
    return rows


def subject(row: Row) -> str:
    """What a row of `diff_runs` is about: `data`, `metrics`, `settings` or `environment`."""
    section = str(row["key"]).partition(".")[0]
    if section in ("data", "metrics"):  # of either file
        return section
    return "settings" if row["source"] == "config" else "environment"


def _files(path: Path) -> Iterator[Path]:
    """All files below a directory; links are not followed."""
    for place, _, names in os.walk(path):
        yield from (Path(place) / name for name in names)


def in_words(value: Any) -> str:
    """A value of a setting or of env.json as people read it."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", value):
        return value[:8]  # a commit, a fingerprint, a digest
    if isinstance(value, list):
        return ", ".join(map(in_words, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
