"""What a run reports, sent to trackers of experiments as well.

`tracking.json` in the run directory keeps the id of each tracker's run and the last steps that it
has: a resumed run continues there, and rows that a tracker lacks are sent from the tables.
"""

from __future__ import annotations

import io
import secrets
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TYPE_CHECKING, Any

from ditbench.errors import DitbenchError, one_line
from ditbench.files import read_json, write_json
from ditbench.rows import read_rows
from ditbench.runs.events.reporter import Reporter
from ditbench.runs.events.trackers import TRACKERS, Tracker

if TYPE_CHECKING:
    from ditbench.runs.planning.plan import Plan
    from ditbench.training.trainer import Logged


# Columns that are the axis, or settings: constant over a run.
NOT_SCALARS = ("step", "samples", "sampling_steps", "cfg_scale", "ema_decay")


@contextmanager
def tracked(run: Plan, reporter: Reporter) -> Iterator[Reporter]:
    """A reporter that also sends the events of a run to its trackers, which end with it."""
    if not run.trackers or not run.world.first:  # the first process sends what all compute
        yield reporter
        return
    tracking = _Tracking(run, reporter)
    try:
        yield tracking
    finally:
        tracking.close()


class _Tracking(Reporter):
    """Passes events on, and sends what was measured to trackers. One that fails is left out."""

    def __init__(self, run: Plan, reporter: Reporter) -> None:
        self.run, self.reporter = run, reporter
        # By tracker: the id of its run, and the step of the last row of each table that it has.
        self.state: dict[str, dict[str, Any]] = {}
        with suppress(DitbenchError):  # missing, or damaged: the trackers get new runs
            kept = read_json(run.directory.tracking)
            self.state = {
                name: facts
                for name, facts in kept.items()
                if isinstance(facts, dict) and "id" in facts
            }
        self.trackers: dict[str, Tracker] = {}
        self.curve, self.complete = True, False

    def preparing(self, plan: Plan) -> None:
        self.reporter.preparing(plan)

    def working(self, activity: str, done: int, parts: int) -> None:
        self.reporter.working(activity, done, parts)

    def started(self, plan: Plan, step: int, seconds: float, per_score: float) -> None:
        self.reporter.started(plan, step, seconds, per_score)
        self._open(self.run.trackers)

    def logged(self, row: Logged) -> None:
        self.reporter.logged(row)
        self._send("train", vars(row))

    def evaluated(self, row: dict[str, Any]) -> None:
        self.reporter.evaluated(row)
        if self.curve:  # not a draw of the final score
            self._send("eval", row)
            self._keep()

    def scoring(self, draws: int, steps: int) -> None:
        self.reporter.scoring(draws, steps)
        self.curve = False

    def finished(self, plan: Plan, result: dict[str, Any], *, reused: bool) -> None:
        self.complete = True
        if reused:
            names = self.run.trackers
            self._open([name for name in names if "final" not in self.state.get(name, {})])
        self._send("final", result["final"])
        self.close()
        self.reporter.finished(plan, result, reused=reused)

    def warned(self, text: str) -> None:
        self.reporter.warned(text)

    def close(self) -> None:
        """Close the trackers, and keep how far they are."""
        if self.trackers:
            self._each(lambda _, tracker: tracker.close(complete=self.complete))
            self._keep()
            self.trackers.clear()

    def _open(self, names: Iterable[str]) -> None:
        """Open trackers, and send the rows that they lack."""
        for name in names:
            with self._continuing(name):
                known = self.state.get(name, {"id": secrets.token_hex(4)})
                tracker = TRACKERS[name](self.run, known["id"], resumed=name in self.state)
                self.trackers[name], self.state[name] = tracker, known
                for row in read_rows(self.run.directory.train):
                    self._send_to(name, tracker, "train", row)
                for row in self.run.directory.read_evaluations():
                    self._send_to(name, tracker, "eval", row)
        self._keep()

    def _send(self, table: str, row: Mapping[str, Any]) -> None:
        self._each(lambda name, tracker: self._send_to(name, tracker, table, row))

    def _send_to(self, name: str, tracker: Tracker, table: str, row: Mapping[str, Any]) -> None:
        """Send a row of a table, and its sample grid, to a tracker that lacks it."""
        step, known = row["step"], self.state[name]
        if step <= known.get(table, -1):
            return
        scalars = {
            f"{table}/{column}": float(value)
            for column, value in row.items()
            if isinstance(value, int | float) and column not in NOT_SCALARS
        }
        grid = self.run.directory.samples(step)
        tracker.log(step, scalars, grid if table == "eval" and grid.is_file() else None)
        known[table] = step

    def _each(self, action: Callable[[str, Tracker], None]) -> None:
        for name, tracker in list(self.trackers.items()):
            with self._continuing(name):
                action(name, tracker)

    @contextmanager
    def _continuing(self, name: str) -> Iterator[None]:
        """Whatever happens to a tracker, the run continues: without it, and with a warning.

        What it prints is dropped: stdout is for results.
        """
        try:
            with redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except Exception as error:
            self.trackers.pop(name, None)
            reason = one_line(f"{type(error).__name__}: {error}")
            self.reporter.warned(f"--log {name} failed, the run continues without it: {reason}")

    def _keep(self) -> None:
        directory = self.run.directory
        if directory.is_described():  # not removed in the meantime
            with suppress(DitbenchError):  # rows are sent again
                write_json(directory.tracking, self.state)
