"""What is reported of a run while it is executed: live bars on a terminal, lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from ditbench.amounts import counted
from ditbench.distances import column_of, title_of
from ditbench.errors import one_line
from ditbench.few import are_few
from ditbench.rundir import metric_suffix
from ditbench.runs.events.reporter import Reporter
from ditbench.runs.planning.plan import Plan
from ditbench.runs.planning.speed import Remaining, clock
from ditbench.training.budget import Budget, plain
from ditbench.training.trainer import Logged

# The least time between two lines of the training log where there is no terminal.
SECONDS_BETWEEN_LINES = 5.0
SECONDS_TO_FIRST_LINE = 2.0  # other work than training is silent for so long
EVALUATION = ("sampling", "scoring")  # the work that makes up an evaluation


class RunProgress(Reporter):
    """Counts runs, and estimates how long the current one still takes."""

    label: str
    budget: Budget
    remaining: Remaining
    number = 0
    _plan: Plan | None = None

    def __init__(self, console: Console, runs: int) -> None:
        self.console = console
        self.runs = runs

    def preparing(self, plan: Plan) -> None:
        """Name the run."""
        self._plan, self.budget = plan, plan.budget
        self.number += 1
        place = f"[{self.number}/{self.runs}] " if self.runs > 1 else ""
        self.label = place + plan.label

    def started(self, plan: Plan, step: int, seconds: float, per_score: float) -> None:
        """Show where the run starts."""
        if plan is not self._plan:
            self.preparing(plan)
        self.remaining = Remaining(plan, step, seconds, per_score)

    def _eta(self) -> str:
        return clock(self.remaining.read())

    def _eta_during(self, activity: str) -> str:
        """The remaining time during an evaluation; empty during other work."""
        if activity not in EVALUATION:
            return ""
        self.remaining.evaluating()
        return self._eta()

    def _position(self, step: int, seconds: float) -> float:
        return self.budget.position(step, lambda: seconds)


class Lines(RunProgress):
    """Prints one plain line at a time on stderr."""

    last_line = 0.0
    real_images = math.nan

    def of(self, plan: Plan) -> Lines:
        """Lines of one run; runs are counted together."""
        del plan
        lines = Lines(self.console, self.runs)
        lines.number, self.number = self.number, self.number + 1
        return lines

    def started(self, plan: Plan, step: int, seconds: float, per_score: float) -> None:
        """Print what is trained, and for how long."""
        super().started(plan, step, seconds, per_score)
        self.real_images = len(plan.dataset)
        self.last_line = time.monotonic()
        unit, position = plan.budget.unit, plain(self._position(step, seconds))
        start = f"from {unit} {position} of" if step else "for"
        self._line(
            f"{plan.cost.model} on {plan.dataset.name}, {plan.config.objective.name}, "
            f"{start} {plain(plan.budget.amount)} {unit}s"
        )

    def working(self, activity: str, done: int, parts: int) -> None:
        """Print how far it is, after two seconds and then every few seconds."""
        eta = self._eta_during(activity)
        if not done:
            self.last_line = time.monotonic() - SECONDS_BETWEEN_LINES + SECONDS_TO_FIRST_LINE
        elif done < parts and self._is_time():
            self._line(f"{activity} {done}/{parts}" + f"  ETA {eta}" * bool(eta))

    def logged(self, row: Logged) -> None:
        """Print loss, speed and remaining time, every few seconds."""
        self.remaining.trained(row.step, row.seconds)
        if self._is_time():
            speed = f"{row.step / row.seconds:.1f} it/s"
            self._line_at(row.step, row.seconds, f"loss {row.loss:.4f}  {speed}  ETA {self._eta()}")

    def evaluated(self, row: dict[str, Any]) -> None:
        """Print the metrics."""
        self.remaining.evaluated(row["eval_seconds"])
        self._line_at(row["step"], row["seconds"], describe(row, self.real_images))

    def scoring(self, draws: int, steps: int) -> None:
        """Print what the final score needs."""
        self.remaining.finishing(draws)
        self._line(f"final score: {draws_in_words(draws, steps)}")

    def _is_time(self) -> bool:
        """Whether the last line is some seconds ago; the next one is then printed now."""
        now = time.monotonic()
        due = now - self.last_line > SECONDS_BETWEEN_LINES
        self.last_line = now if due else self.last_line
        return due

    def _line_at(self, step: int, seconds: float, text: str) -> None:
        place = self.budget.place(self._position(step, seconds))
        self._line(f"{self.budget.unit} {place}  {text}")

    def _line(self, text: str) -> None:
        # Text, not str: rich would read names in it as markup, and :dog: as an emoji.
        self.console.print(Text(one_line(f"{self.label}  {text}")), soft_wrap=True)


class Bars(RunProgress):
    """Draws a live bar per run, in 80 columns; results are printed between two bars."""

    progress: Progress
    training = ""  # the state of training in the last row

    def preparing(self, plan: Plan) -> None:
        """Start a new bar."""
        super().preparing(plan)
        self.progress = Progress(
            _column("{task.description}", "bold"),
            BarColumn(bar_width=None),
            _column("{task.fields[place]}", "green", justify="right"),
            _column("{task.fields[state]}"),
            _column("{task.fields[eta]}", "yellow"),
            _column("{task.fields[metrics]}", "cyan"),
            console=self.console,
        )
        self.progress.add_task(
            one_line(self.label), total=self.budget.amount, place="", state="", eta="", metrics=""
        )
        self.progress.start()

    def started(self, plan: Plan, step: int, seconds: float, per_score: float) -> None:
        """Show where the run starts."""
        super().started(plan, step, seconds, per_score)
        self._reach(step, seconds)

    def working(self, activity: str, done: int, parts: int) -> None:
        """Show how far it is."""
        self._update(state=f"{activity} {done}/{parts}", eta=self._eta_during(activity))

    def logged(self, row: Logged) -> None:
        """Move the bar."""
        self.remaining.trained(row.step, row.seconds)
        self.training = f"{row.step / row.seconds:.1f} it/s  loss {row.loss:.3f}"
        self._update(state=self.training, eta=self._eta())
        self._reach(row.step, row.seconds)

    def evaluated(self, row: dict[str, Any]) -> None:
        """Show FID."""
        self.remaining.evaluated(row["eval_seconds"])
        self._update(state=self.training, metrics=fid(row))

    def scoring(self, draws: int, steps: int) -> None:
        """Show that the final score is being made."""
        self.remaining.finishing(draws)
        self._update(state=draws_in_words(draws, steps))

    def finished(self, plan: Plan, result: dict[str, Any], *, reused: bool) -> None:
        """Leave the bar where it is; a run that was complete before has none."""
        del result, reused
        if plan is self._plan:
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
def reporter(
    runs: int, *, quiet: bool, live: Callable[[Console, int], Reporter] = Bars
) -> Iterator[Reporter]:
    """The reporter for stderr: live on a terminal, lines in a pipe, warnings only if quiet."""
    console = Console(stderr=True)
    # FORCE_COLOR makes a pipe a terminal for rich. A terminal with TERM=dumb cannot draw.
    kind = live if console.is_interactive and console.file.isatty() else Lines
    with closing(Reporter() if quiet else kind(console, runs)) as chosen:
        yield chosen


def _column(text: str, style: str = "none", **options: Any) -> TextColumn:
    return TextColumn(text, style, markup=False, **options)


def draws_in_words(draws: int, steps: int) -> str:
    """`5 draws with 250 sampling steps`."""
    return f"{counted(draws, 'draw')} with {counted(steps, 'sampling step')}"


def fid(row: dict[str, Any]) -> str:
    """The FID of one evaluation with its full name: `FID-2K 12.34`."""
    suffix, title = metric_suffix(row["samples"]), title_of("fid", row.get("features"))
    return f"{title}-{suffix.upper()} {row[column_of('fid', suffix, row)]:.2f}"


def describe(row: dict[str, Any], real_images: float = math.nan) -> str:
    """The main metrics of one evaluation in a few words; KID first where images are few for FID."""
    suffix = metric_suffix(row["samples"])
    column = column_of("kid", suffix, row)
    few = are_few(row.get("features"), real_images, row["samples"]) and column in row
    title = title_of("kid", row.get("features"))
    kid = f"{title}-{suffix.upper()} {row[column]:.3g}, " if few else ""
    accuracy = f", accuracy {row['label_accuracy']:.3f}" if "label_accuracy" in row else ""
    return kid + fid(row) + accuracy


def sentence(result: dict[str, Any]) -> str:
    """The result of a finished run in one sentence, and in another which updates were skipped."""
    final, steps, skipped = result["final"], result["steps"], result.get("skipped_updates", 0)
    scores = describe(final, result.get("scoring", {}).get("real_images", math.nan))
    text = (
        f"{result['block']}, seed {result['seed']}: {scores} "
        f"({final['features']} features) after {steps:,} steps, "
        f"{result['train_seconds']:.3g} s of training on {result['device']}."
    )
    if skipped:
        text += f" {skipped:,} of {steps:,} updates were skipped: loss or gradient were not finite."
    return text
