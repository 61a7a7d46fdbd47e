"""One live table of the runs that are executed at the same time, for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ditbench.errors import DitbenchError, one_line
from ditbench.runs.events.progress import RunProgress, draws_in_words, fid
from ditbench.runs.events.reporter import Reporter
from ditbench.runs.planning.plan import Plan
from ditbench.training.trainer import Logged

WIDTH = 80


class LiveTable(Reporter):
    """Draws a row per run that is being executed. What is printed stays above the table."""

    def __init__(self, console: Console, runs: int) -> None:
        self.console, self.runs = console, runs
        self.rows: list[_Row] = []
        # Results go to stdout, which may be a file: `Live` would print them on its own console.
        self.live = Live(
            console=console, get_renderable=self._table, transient=True, redirect_stdout=False
        )

    def of(self, plan: Plan) -> Reporter:
        """A new row."""
        row = _Row(self.console, self.runs, plan)
        self.rows.append(row)
        self.live.start()
        return row

    def failed(self, plan: Plan, error: DitbenchError) -> None:
        """Print why, and remove the row."""
        for row in self.rows:
            row.ended = row.ended or row.plan is plan
        with self._paused():
            super().failed(plan, error)

    def say(self, text: str) -> None:
        """Print a result on stdout."""
        with self._paused():
            super().say(text)

    def close(self) -> None:
        """Erase the table."""
        self.live.stop()

    @contextmanager
    def _paused(self) -> Iterator[None]:
        started = self.live.is_started
        self.live.stop()
        yield
        if started:
            self.live.start()

    def _table(self) -> Table:
        shown = [row for row in self.rows if not row.ended]
        waiting = self.runs - len(self.rows)
        ended = f"{len(self.rows) - len(shown)} of {self.runs} runs ended, {waiting} waiting"
        width = min(WIDTH, self.console.width)
        table = Table(box=None, pad_edge=False, caption=ended, caption_justify="left", width=width)
        table.add_column("Block", no_wrap=True, ratio=3)
        unit = self.rows[0].plan.budget.unit if self.rows else "step"
        # Wide enough for most numbers, so that columns do not move.
        widths = {"Seed": 4, f"{unit.title()}s": 13, "Loss": 5, "FID": 6, "ETA": 5}
        for name, least in widths.items():
            table.add_column(name, no_wrap=True, justify="right", min_width=least)
        table.add_column("", no_wrap=True, ratio=2)
        for row in shown:
            table.add_row(*(Text(one_line(cell), overflow="ellipsis") for cell in row.cells()))
        return table


class _Row(RunProgress):
    """What the table shows of one run."""

    step = loss = fid = eta = state = ""

    def __init__(self, console: Console, runs: int, plan: Plan) -> None:
        super().__init__(console, runs)
        self.plan = plan
        self.ended = False

    def cells(self) -> list[str]:
        """The cells of its columns."""
        name, seed = self.plan.name, str(self.plan.config.seed)
        return [name, seed, self.step, self.loss, self.fid, self.eta, self.state]

    def preparing(self, plan: Plan) -> None:
        super().preparing(plan)
        self.state = "preparing"

    def working(self, activity: str, done: int, parts: int) -> None:
        self.state = f"{activity} {done}/{parts}"
        self.eta = self._eta_during(activity) or self.eta

    def started(self, plan: Plan, step: int, seconds: float, per_score: float) -> None:
        super().started(plan, step, seconds, per_score)
        self._reach(step, seconds)

    def logged(self, row: Logged) -> None:
        self.remaining.trained(row.step, row.seconds)
        self.loss, self.eta = f"{row.loss:.3f}", self._eta()
        self._reach(row.step, row.seconds)

    def evaluated(self, row: dict[str, Any]) -> None:
        self.remaining.evaluated(row["eval_seconds"])
        self.fid, self.state = fid(row).split()[-1], ""

    def scoring(self, draws: int, steps: int) -> None:
        self.remaining.finishing(draws)
        self.state = draws_in_words(draws, steps)

    def finished(self, plan: Plan, result: dict[str, Any], *, reused: bool) -> None:
        del plan, result, reused
        self.ended = True

    def _reach(self, step: int, seconds: float) -> None:
        self.step = self.budget.place(self._position(step, seconds))
        self.state = ""
