"""`ditbench reproduce`: a run trained again from its own directory, and whether it agrees."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ditbench.amounts import writer
from ditbench.cli.execution.forecast import print_forecast
from ditbench.cli.execution.gpus import divided
from ditbench.cli.execution.training import executing, workers_for
from ditbench.cli.options.common import AsJson, Device, Trust, argument, option
from ditbench.cli.options.completion import complete_places, complete_runs
from ditbench.cli.options.training import DryRun, Quiet, Training
from ditbench.cli.output.meter import load_torch, reading
from ditbench.cli.output.printing import (
    echo,
    print_json,
    print_sentence,
    print_table,
    print_texts,
    progress,
)
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.report.tables.columns import DIFF_COLUMNS, Column
from ditbench.rundir import RunDirectory

if TYPE_CHECKING:
    from ditbench.report.reproduction import Reproduction
    from ditbench.runs.planning.plan import Plan

OUT = Path("reproduced")
_TITLES = {"recorded": "Recorded", "again": "Here", "difference": "Apart", "limit": "Two seeds"}
_COLUMNS = (
    Column("title", "Metric"), *(Column(name, _TITLES[name], "{}".format) for name in _TITLES)
)  # fmt: skip


def reproduce(
    run: Annotated[Path, argument("RUN",
        "A complete run, or a directory that holds one.", complete_runs)],
    group: Annotated[list[Path] | None, option("DIR",
        "Where runs of other seeds are, whose scatter says how far two seeds are apart; "
        "repeatable. Default: the experiment of RUN.", autocompletion=complete_places)] = None,
    data: Annotated[Path | None, option("PATH",
        "Where the images are now. Default: where they were.")] = None,
    device: Device = "auto",
    backend: Annotated[str | None, option("NAME",
        "What computes a step: auto, plain, compile or kernels. Default: as asked.")] = None,
    gpus: Annotated[int, option("N", "GPUs that compute the run together.", min=1)] = 1,
    trust: Trust = False,
    out: Annotated[Path, option("DIR",
        "Where the new run directory goes.", show_default=True)] = OUT,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Train a run again on this machine, in a directory of its own, and say whether it agrees.

    It is equal (every loss and metric), equal to rounding, or within the noise between seeds; else
    the exit code is 1. What differs in environment and backend is listed. The same command again
    resumes, or compares at once.
    """
    from ditbench.report.reading.results import one_run as find
    from ditbench.report.reading.run import read_run

    directory = find(run)
    if directory.is_complete():  # that it is not is said below
        try:
            read_run(directory)  # before hours of training
        except DitbenchError as error:
            hint = error.hint or "copy the run directory again from where it is whole"
            raise DitbenchError(f"{directory.path}: {error.message}", hint) from error
    load_torch(quiet=quiet)
    from ditbench.runs.machine.environment import select_device
    from ditbench.runs.planning.again import plan_again

    on = select_device(device)
    with reading(quiet=quiet):
        plan = plan_again(directory, out, on, backend=backend, data=data, trust=trust)
    options = Training(device=device, gpus=gpus)
    if dry_run:
        print_forecast([plan], workers_for([plan], options), as_json=as_json, quiet=quiet)
        return
    _train(plan, options, quiet=quiet)

    from ditbench.report.reproduction import judge

    found = judge(directory, plan.directory, _places(directory, plan) if group is None else group)
    _print(found, directory, plan.directory, as_json=as_json)
    if not found.agrees:
        raise typer.Exit(EXIT_FAILED)


def _places(run: RunDirectory, plan: Plan) -> list[Path]:
    """The experiment that a run belongs to; only the run itself, if it lies elsewhere."""
    above = run.path.absolute().parents
    inside = (above[1].name, above[0].name) == (plan.config.preset, plan.config.block)
    return [above[1] if inside else run.path]


def _train(plan: Plan, options: Training, *, quiet: bool) -> None:
    """Make the run, unless it is there."""
    from ditbench.runs.planning.ready import check_ready

    if plan.directory.is_complete():
        progress(quiet=quiet)(f"{plan.directory.path} is complete: it is compared as it is")
        return
    plans = divided([plan], options)
    check_ready(plans)
    with executing(plans, workers_for(plans, options), quiet=quiet) as (_, outcomes):
        for _, outcome in outcomes:
            if isinstance(outcome, DitbenchError):
                raise outcome


def _in_words(row: dict[str, Any]) -> dict[str, Any]:
    """A metric of both runs as texts; differences are shares where its scale is "log"."""
    from ditbench.report.reproduction import amount

    write = writer(row["format"])
    return {
        "title": row["title"],
        "recorded": write(row["recorded"]),
        "again": write(row["again"]),
        "difference": amount(row, "difference"),
        "limit": None if row["limit"] is None else amount(row, "limit"),
    }


def _print(found: Reproduction, run: RunDirectory, again: RunDirectory, *, as_json: bool) -> None:
    from ditbench.report.reading.one_run import subject

    differs = [{**row, "source": subject(row)} for row in found.environment]
    if as_json:
        paths = {"run": str(run.path), "again": str(again.path)}
        verdict = {"kind": found.kind, "agrees": found.agrees, "sentence": found.sentence}
        rest: dict[str, Any] = {**vars(found), "environment": differs}
        print_json({**paths, **verdict, **rest})
        return
    print_sentence(found.sentence)
    echo(again.path)
    echo()
    print_table([_in_words(row) for row in found.metrics], _COLUMNS)
    echo()
    print_texts(differs, DIFF_COLUMNS, "What differs (A is the recorded run)")
