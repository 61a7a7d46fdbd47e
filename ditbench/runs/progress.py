"""Events of a run as people see them: live bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from ditbench.errors import one_line
from ditbench.rundir import metric_suffix
from ditbench.runs.run import Evaluated, Event, Failed, Finished, Shown, Started, Warned
from ditbench.training.budget import plain
from ditbench.training.train import Logged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ditbench.runs.plan import Plan
    from ditbench.training.budget import Budget

# A line at most this often where there is no terminal: logs are read later.
SECONDS_BETWEEN_LINES = 5.0


class Reporter:
    """Tells what happens. This one shows nothing but warnings; results still go to stdout."""

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, Warned):
            self._complain(f"warning: {event.text}")
        elif isinstance(event, Failed):
            self.close()
            self._complain(f"failed: {event.plan.label}: {event.error.message}")
        else:
            self.show(event)

    def show(self, event: Shown) -> None:
        """Show an event of a run that goes as it should."""

    def close(self) -> None:
        """End what is being drawn."""

    def _complain(self, text: str) -> None:
        print(one_line(text), file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """Put a result on stdout; nothing is being drawn between two runs."""
        print(text, flush=True)


class Lines(Reporter):
    """One plain line at a time on stderr."""

    def __init__(self, console: Console, runs: int) -> None:
        self.console = console
        self.runs = runs
        self.number = 0
        self.label = ""
        self.budget: Budget
        self.last_line = 0.0

    def show(self, event: Shown) -> None:
        """Write a line for what matters."""
        if isinstance(event, Started):
            self._start(event)
        elif isinstance(event, Logged) and (
            time.monotonic() - self.last_line > SECONDS_BETWEEN_LINES
        ):
            self.last_line = time.monotonic()
            position = _position(self.budget, event.step, event.seconds)
            remaining = event.seconds * max(0.0, self.budget.amount / position - 1)
            self._line(
                f"{self._place(position)}  loss {event.loss:.4f}  "
                f"{event.step / event.seconds:.1f} it/s  ETA {remaining:.0f} s"
            )
        elif isinstance(event, Evaluated):
            position = _position(self.budget, event.row["step"], event.row["seconds"])
            self._line(f"{self._place(position)}  {describe(event.row)}")
        elif isinstance(event, Finished) and event.reused:
            self.number += 1
            self.label = _label(event.plan, self.number, self.runs)
            self._line("complete already, skipped")

    def _start(self, event: Started) -> None:
        self.number += 1
        self.label = _label(event.plan, self.number, self.runs)
        self.budget = budget = event.plan.budget
        self.last_line = time.monotonic()
        position = _position(budget, event.step, event.seconds)
        start = f"from {budget.unit} {plain(position)} of" if event.step else "for"
        self._line(
            f"{event.plan.cost.model} on {event.plan.dataset.name}, "
            f"{event.plan.config.objective.name}, {start} {plain(budget.amount)} {budget.unit}s"
        )

    def _place(self, position: float) -> str:
        return f"{self.budget.unit} {self.budget.place(position)}"

    def _line(self, text: str) -> None:
        self.console.print(f"{self.label}  {text}", highlight=False, markup=False, soft_wrap=True)


class Bars(Reporter):
    """A live bar on a terminal, one after the other, so that results can stand between them.

    It fits 80 columns: of the metrics it shows FID alone.
    """

    def __init__(self, console: Console, runs: int) -> None:
        self.console = console
        self.runs = runs
        self.number = 0
        self.progress = self._new_progress()
        self.task = TaskID(0)
        self.budget: Budget

    def show(self, event: Shown) -> None:
        """Move the bar."""
        if isinstance(event, Started):
            self._start(event.plan, event.step, event.seconds)
        elif isinstance(event, Logged):
            rate = event.step / event.seconds
            self._update(
                **self._reached(event.step, event.seconds),
                state=f"{rate:.1f} it/s  loss {event.loss:.3f}",
            )
        elif isinstance(event, Evaluated):
            self._update(metrics=fid(event.row))
        else:
            if event.reused:
                self._start(event.plan, event.result["steps"], event.result["train_seconds"])
                self._update(state="complete already", metrics=fid(event.result["final"]))
            self.close()

    def close(self) -> None:
        """Leave the last bar where it is; what follows is written below it."""
        self.progress.stop()

    def _new_progress(self) -> Progress:
        return Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("[green]{task.fields[place]}", justify="right"),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("[cyan]{task.fields[metrics]}"),
            console=self.console,
        )

    def _start(self, plan: Plan, step: int, seconds: float) -> None:
        self.number += 1
        self.budget = plan.budget
        self.progress = self._new_progress()
        self.task = self.progress.add_task(
            _label(plan, self.number, self.runs),
            total=self.budget.amount,
            **self._reached(step, seconds),
            state="",
            metrics="",
        )
        self.progress.start()

    def _reached(self, step: int, seconds: float) -> dict[str, Any]:
        position = _position(self.budget, step, seconds)
        return {"completed": position, "place": self.budget.place(position) + self.budget.symbol}

    def _update(self, **fields: Any) -> None:
        self.progress.update(self.task, **fields)


@contextmanager
def reporter(runs: int, *, quiet: bool) -> Iterator[Reporter]:
    """The right reporter for stderr: bars on a terminal, lines in a pipe, nothing if quiet."""
    console = Console(stderr=True)
    if quiet:
        yield Reporter()
    elif not console.is_terminal:
        yield Lines(console, runs)
    else:
        bars = Bars(console, runs)
        try:
            yield bars
        finally:
            bars.close()


def fid(row: dict[str, Any]) -> str:
    """The FID of one evaluation by its full name."""
    suffix = metric_suffix(row["samples"])
    return f"FID-{suffix.upper()} {row[f'fid_{suffix}']:.2f}"


def describe(row: dict[str, Any]) -> str:
    """The metrics of one evaluation in a few words."""
    words = fid(row)
    if "label_accuracy" in row:
        words += f", accuracy {row['label_accuracy']:.3f}"
    return words


def sentence(result: dict[str, Any]) -> str:
    """What a finished run comes to."""
    final = result["final"]
    return (
        f"{result['block']}, seed {result['seed']}: {describe(final)} "
        f"({final['features']} features) after {result['steps']:,} steps, "
        f"{result['train_seconds']:.3g} s of training on {result['device']}."
    )


def _position(budget: Budget, step: int, seconds: float) -> float:
    return budget.position(step, lambda: seconds)


def _label(plan: Plan, number: int, runs: int) -> str:
    place = f"[{number}/{runs}] " if runs > 1 else ""
    return f"{place}{plan.label}"
