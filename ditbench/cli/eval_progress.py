"""What `ditbench eval` shows while it scores: a live bar on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ditbench.cli.output import echo, note
from ditbench.errors import DitbenchError, one_line
from ditbench.runs.progress import fid

if TYPE_CHECKING:
    from ditbench.runs.rescore import Rescoring

SECONDS_BETWEEN_LINES = 5.0
# The work that makes up nearly all time of a draw.
SAMPLING = "sampling"


class Shown:
    """Receives the events of `rescore`. This one prints failures only."""

    def begin(self, job: Rescoring) -> None:
        """A setting begins."""

    def working(self, activity: str, done: int, parts: int) -> None:
        """So many parts of some work are done."""

    def scored(self, job: Rescoring, row: dict[str, Any]) -> None:
        """A draw was scored."""

    def failed(self, job: Rescoring, error: DitbenchError) -> None:
        """A setting ended in an error; the others continue."""
        note("failed", f"{job.label}: {error.message}")


class _Counting(Shown):
    """Counts draws, weighted by the passes of the model that each takes."""

    def __init__(self, left: Sequence[Rescoring]) -> None:
        self.draws = sum(job.left for job in left)
        self.total = sum(job.left * job.passes for job in left)
        self.number, self.complete = 0, 0
        self.job: Rescoring | None = None

    def begin(self, job: Rescoring) -> None:
        self.job = job

    def scored(self, job: Rescoring, row: dict[str, Any]) -> None:
        del row
        self.number += 1
        self.complete += job.passes

    def _label(self) -> str:
        assert self.job is not None
        return f"[{min(self.number + 1, self.draws)}/{self.draws}] {self.job.label}"


class Lines(_Counting):
    """Prints one plain line at a time on stderr."""

    last = 0.0

    def begin(self, job: Rescoring) -> None:
        """Name it."""
        super().begin(job)
        self.last = time.monotonic()

    def working(self, activity: str, done: int, parts: int) -> None:
        """Print how far it is, every few seconds."""
        if done and time.monotonic() - self.last > SECONDS_BETWEEN_LINES:
            self.last = time.monotonic()
            echo(one_line(f"{self._label()}  {activity} {done}/{parts}"), err=True)

    def scored(self, job: Rescoring, row: dict[str, Any]) -> None:
        """Print the FID."""
        echo(one_line(f"{self._label()}  draw {row['draw']}: {fid(row)}"), err=True)
        super().scored(job, row)


class Bar(_Counting):
    """Draws one bar for the whole command."""

    def __init__(self, left: Sequence[Rescoring], bars: Progress) -> None:
        super().__init__(left)
        self.bars = bars
        self.task: TaskID | None = None

    def begin(self, job: Rescoring) -> None:
        """Name it."""
        super().begin(job)
        if self.task is None:
            self.task = self.bars.add_task("", total=self.total, state="", fid="")
        self._update(description=one_line(self._label()))

    def working(self, activity: str, done: int, parts: int) -> None:
        """Show how far it is."""
        self._update(state=f"{activity} {done}/{parts}")
        if activity == SAMPLING and self.job is not None and parts:
            self._update(completed=self.complete + self.job.passes * done / parts)

    def scored(self, job: Rescoring, row: dict[str, Any]) -> None:
        """Show the FID."""
        super().scored(job, row)
        self._update(
            completed=self.complete, fid=fid(row), state="", description=one_line(self._label())
        )

    def _update(self, **fields: Any) -> None:
        if self.task is not None:
            self.bars.update(self.task, **fields)


@contextmanager
def showing(left: Sequence[Rescoring], *, quiet: bool) -> Iterator[Shown]:
    """What shows progress on stderr: a bar on a terminal, lines in a pipe, failures if quiet."""
    console = Console(stderr=True)
    if quiet or not (console.is_interactive and console.file.isatty()):
        yield Shown() if quiet else Lines(left)
        return
    columns = [
        TextColumn("{task.description}", "bold", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[state]}", markup=False),
        TimeRemainingColumn(),
        TextColumn("{task.fields[fid]}", "cyan", markup=False),
    ]
    with Progress(*columns, console=console) as bars:
        yield Bar(left, bars)
