"""What is reported of a run while it is executed: live bars on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from ditbench.errors import DitbenchError, one_line
from ditbench.rundir import metric_suffix
from ditbench.training.budget import Budget, plain

if TYPE_CHECKING:
    from ditbench.runs.plan import Plan
    from ditbench.training.trainer import Logged

# The least time between two lines of the training log where there is no terminal.
SECONDS_BETWEEN_LINES = 5.0


class Reporter:
    """Receives the events of runs, one run after the other.

    This one prints warnings and failures on stderr, and results on stdout.
    """

    def started(self, plan: Plan, step: int, seconds: float) -> None:
        """A run starts, at step 0 or, with its seconds of training so far, at a checkpoint."""

    def logged(self, row: Logged) -> None:
        """A row was added to train.csv."""

    def evaluated(self, row: dict[str, Any]) -> None:
        """A row was added to eval.csv."""

    def scoring(self, draws: int, steps: int) -> None:
        """Training has ended, and so many draws of samples are scored, with so many steps each."""

    def finished(self, plan: Plan, result: dict[str, Any], *, reused: bool) -> None:
        """The run is complete; `reused` if it was complete before. `result` is result.json."""

    def warned(self, text: str) -> None:
        """Something is not as expected; the run continues."""
        self._print_error(f"warning: {text}")

    def failed(self, plan: Plan, error: DitbenchError) -> None:
        """The run ended in an error; the other runs continue."""
        self.close()
        self._print_error(f"failed: {plan.label}: {error.message}")

    def close(self) -> None:
        """Stop drawing."""

    def say(self, text: str) -> None:
        """Print a result on stdout, between two runs."""
        print(text, flush=True)

    def _print_error(self, text: str) -> None:
        print(one_line(text), file=sys.stderr, flush=True)


class _Progress(Reporter):
    """Counts runs and positions."""

    budget: Budget
    label: str
    number = 0

    def __init__(self, console: Console, runs: int) -> None:
        self.console = console
        self.runs = runs

    def _next(self, plan: Plan) -> None:
        self.number += 1
        place = f"[{self.number}/{self.runs}] " if self.runs > 1 else ""
        self.label = place + plan.label
        self.budget = plan.budget

    def _position(self, step: int, seconds: float) -> float:
        return self.budget.position(step, lambda: seconds)


class Lines(_Progress):
    """Prints one plain line at a time on stderr."""

    last_line = 0.0

    def started(self, plan: Plan, step: int, seconds: float) -> None:
        """Print what is trained, and for how long."""
        self._next(plan)
        self.last_line = time.monotonic()
        unit, position = plan.budget.unit, plain(self._position(step, seconds))
        start = f"from {unit} {position} of" if step else "for"
        self._line(
            f"{plan.cost.model} on {plan.dataset.name}, {plan.config.objective.name}, "
            f"{start} {plain(plan.budget.amount)} {unit}s"
        )

    def logged(self, row: Logged) -> None:
        """Print loss, speed and remaining time, every few seconds."""
        if time.monotonic() - self.last_line <= SECONDS_BETWEEN_LINES:
            return
        self.last_line = time.monotonic()
        position = self._position(row.step, row.seconds)
        remaining = row.seconds * max(0.0, self.budget.amount / position - 1)
        self._line(
            f"{self._place(position)}  loss {row.loss:.4f}  "
            f"{row.step / row.seconds:.1f} it/s  ETA {remaining:.0f} s"
        )

    def evaluated(self, row: dict[str, Any]) -> None:
        """Print the metrics."""
        self._line(f"{self._place(self._position(row['step'], row['seconds']))}  {describe(row)}")

    def scoring(self, draws: int, steps: int) -> None:
        """Print what the final score needs."""
        self._line(f"final score: {_draws(draws, steps)}")

    def finished(self, plan: Plan, result: dict[str, Any], *, reused: bool) -> None:
        """Print that a run was complete before."""
        del result
        if reused:
            self._next(plan)
            self._line("already complete, skipped")

    def _place(self, position: float) -> str:
        return f"{self.budget.unit} {self.budget.place(position)}"

    def _line(self, text: str) -> None:
        # Text, not str: rich would read names in it as markup, and :dog: as an emoji.
        self.console.print(Text(one_line(f"{self.label}  {text}")), soft_wrap=True)


class Bars(_Progress):
    """Draws a live bar per run, in 80 columns; results are printed between two bars."""

    progress: Progress

    def started(self, plan: Plan, step: int, seconds: float) -> None:
        """Start a new bar."""
        self._next(plan)
        self.progress = Progress(
            _column("{task.description}", "bold"),
            BarColumn(bar_width=None),
            _column("{task.fields[place]}", "green", justify="right"),
            _column("{task.fields[state]}"),
            TimeRemainingColumn(compact=True),
            _column("{task.fields[metrics]}", "cyan"),
            console=self.console,
        )
        label = one_line(self.label)
        self.progress.add_task(label, total=self.budget.amount, place="", state="", metrics="")
        self._reach(step, seconds)
        self.progress.start()

    def logged(self, row: Logged) -> None:
        """Move the bar."""
        self._update(state=f"{row.step / row.seconds:.1f} it/s  loss {row.loss:.3f}")
        self._reach(row.step, row.seconds)

    def evaluated(self, row: dict[str, Any]) -> None:
        """Show FID."""
        self._update(metrics=fid(row))

    def scoring(self, draws: int, steps: int) -> None:
        """Say that the final score is being made."""
        self._update(state=_draws(draws, steps))

    def finished(self, plan: Plan, result: dict[str, Any], *, reused: bool) -> None:
        """Leave the bar where it is."""
        if reused:
            self.started(plan, result["steps"], result["train_seconds"])
            self._update(state="already complete", metrics=fid(result["final"]))
        self.close()

    def close(self) -> None:
        """Stop drawing the last bar; what follows is printed below it."""
        if self.number:
            self.progress.stop()

    def _reach(self, step: int, seconds: float) -> None:
        position = self._position(step, seconds)
        symbol = " s" if self.budget.unit == "second" else ""
        self._update(completed=position, place=self.budget.place(position) + symbol)

    def _update(self, **fields: Any) -> None:
        self.progress.update(TaskID(0), **fields)  # each bar is the only one of its `Progress`


@contextmanager
def reporter(runs: int, *, quiet: bool) -> Iterator[Reporter]:
    """The reporter for stderr: bars on a terminal, lines in a pipe, warnings only if quiet."""
    console = Console(stderr=True)
    # FORCE_COLOR makes a pipe a terminal for rich. A terminal with TERM=dumb cannot draw.
    kind = Bars if console.is_interactive and console.file.isatty() else Lines
    with closing(Reporter() if quiet else kind(console, runs)) as chosen:
        yield chosen


def _column(text: str, style: str = "none", **options: Any) -> TextColumn:
    return TextColumn(text, style, markup=False, **options)


def _draws(draws: int, steps: int) -> str:
    return f"{draws} draw{'s' * (draws > 1)} with {steps} sampling steps"


def fid(row: dict[str, Any]) -> str:
    """The FID of one evaluation with its full name: `FID-2K 12.34`."""
    suffix = metric_suffix(row["samples"])
    return f"FID-{suffix.upper()} {row[f'fid_{suffix}']:.2f}"


def describe(row: dict[str, Any]) -> str:
    """The main metrics of one evaluation in a few words."""
    accuracy = f", accuracy {row['label_accuracy']:.3f}" if "label_accuracy" in row else ""
    return fid(row) + accuracy


def sentence(result: dict[str, Any]) -> str:
    """The result of a finished run in one sentence."""
    final = result["final"]
    return (
        f"{result['block']}, seed {result['seed']}: {describe(final)} "
        f"({final['features']} features) after {result['steps']:,} steps, "
        f"{result['train_seconds']:.3g} s of training on {result['device']}."
    )
