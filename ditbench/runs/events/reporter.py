"""What runs report while they are executed; here, warnings and results only are printed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ditbench.errors import DitbenchError, one_line
from ditbench.plugins.user_traceback import BlockError

if TYPE_CHECKING:
    from ditbench.runs.planning.plan import Plan
    from ditbench.training.trainer import Logged


class Reporter:
    """Receives the events of runs, one run after the other.

    This one prints warnings and failures on stderr, and results on stdout.
    """

    def of(self, plan: Plan) -> Reporter:
        """The reporter of one of several runs that are executed at the same time."""
        del plan
        return self

    def preparing(self, plan: Plan) -> None:
        """What a run needs is being made: a feature extractor, statistics, a compiled model."""

    def working(self, activity: str, done: int, parts: int) -> None:
        """So many parts of some work between two steps are done."""

    def started(self, plan: Plan, step: int, seconds: float, per_score: float) -> None:
        """A run starts or resumes at a step; scoring an image takes `per_score` seconds."""

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
        if isinstance(error, BlockError):
            for line in error.traceback_text.splitlines():
                self._print_error(line)
        self._print_error(f"failed: {plan.label}: {error.message}")

    def close(self) -> None:
        """Stop drawing."""

    def say(self, text: str) -> None:
        """Print a result on stdout, between two runs."""
        print(text, flush=True)

    def _print_error(self, text: str) -> None:
        print(one_line(text), file=sys.stderr, flush=True)
