"""`ditbench rm`: remove runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ditbench.amounts import counted, file_size
from ditbench.cli.options.common import argument, option
from ditbench.cli.options.completion import complete_runs
from ditbench.cli.output.printing import echo
from ditbench.errors import EXIT_FAILED, DitbenchError


def rm(
    runs: Annotated[list[Path], argument("RUN", "Run directories.", complete_runs)],
    yes: Annotated[bool, option(None, "Do not ask.", "--yes", "-y")] = False,
) -> None:  # fmt: skip
    """Remove runs and all their files, after asking.

    Refused, before anything is removed: directories that are not runs, runs that another process
    is writing, and reference runs (those in results/reference, or with files that git tracks).
    """
    from ditbench.launch.removal import check_removable, remove
    from ditbench.launch.states import states
    from ditbench.report.reading.one_run import files

    found = list({run.path: run for run in map(check_removable, runs)}.values())
    sizes = [sum(row["bytes"] for row in files(run)) for run in found]
    if not yes:
        for run, state, size in zip(found, states(found), sizes, strict=True):
            echo(f"{run.path}: {state}, {file_size(size)}", err=True)
        _ask(f"Remove {counted(len(found), 'run')}, {file_size(sum(sizes))}?")
    for run in found:
        remove(run)
    echo(f"removed {counted(len(found), 'run')}, {file_size(sum(sizes))}", err=True)


def _ask(question: str) -> None:
    """Return if the answer is yes; exit with 1 if it is no."""
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort:  # the end of a file, or Ctrl-C
        echo(err=True)
        raise DitbenchError("nothing was removed: no answer", "pass --yes") from None
    if not agreed:
        echo("nothing was removed", err=True)
        raise typer.Exit(EXIT_FAILED)
