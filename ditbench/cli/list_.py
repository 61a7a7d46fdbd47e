"""`ditbench list`: the state of each run in a directory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ditbench.cli.options import Format, Output
from ditbench.cli.output import emit, note
from ditbench.errors import DitbenchError
from ditbench.report.amounts import decimals
from ditbench.report.tables.columns import Column
from ditbench.rows import read_rows
from ditbench.rundir import RunDirectory, metric_suffix

COLUMNS = (
    Column("block", "Block"),
    Column("seed", "Seed", "{}".format),
    Column("state", "State"),
    Column("step", "Step", decimals(0)),
    Column("fid", "FID", decimals(2)),
    Column("path", "Run directory"),
)


def list_(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="A directory that contains runs, at any depth.")
    ] = Path("results"),
    format: Format = None,  # noqa: A002
    output: Output = None,
) -> None:
    """List runs: done, running, queued (a job of Slurm waits), failed or stopped.

    The step is the last one in the log, the FID that of the last evaluation.
    """
    if not directory.is_dir():
        raise DitbenchError(f"{directory} is not a directory", "name one that contains runs")
    from ditbench.launch.states import states

    runs = list(_runs(directory))
    rows = []
    for run, state in zip(runs, states(runs), strict=True):
        try:
            rows.append(_row(run, state))
        except DitbenchError as error:
            note("skipped", f"{run.path}: {error.message}")
    emit(rows, COLUMNS, format, output)


def _runs(root: Path) -> Iterator[RunDirectory]:
    """The runs in a directory, also those that only have a job, in path order."""
    from ditbench.launch.states import MARKER
    from ditbench.report.reading.results import find_runs

    paths = {run.path for run in find_runs(root)} | {file.parent for file in root.rglob(MARKER)}
    yield from map(RunDirectory, sorted(paths))


def _row(run: RunDirectory, state: str) -> dict[str, Any]:
    place = run.path.absolute()
    seed = re.match(r"seed(\d+)-", place.name)
    logged, evaluations = read_rows(run.train), run.read_evaluations()
    step = logged[-1]["step"] if logged else None
    fid = None
    if evaluations:
        last = evaluations[-1]
        fid = last[f"fid_{metric_suffix(last['samples'])}"]
    return {
        "block": place.parent.name,
        "seed": int(seed[1]) if seed else None,
        "state": state,
        "step": step,
        "fid": fid,
        "path": str(run.path),
    }
