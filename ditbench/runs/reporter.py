"""What is reported of a run while it is executed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ditbench.errors import DitbenchError
    from ditbench.runs.plan import Plan
    from ditbench.training.trainer import Logged


class Reporter:
    """Receives the events of runs, one run after the other. This one ignores them.

    Subclasses override the methods they need, see `ditbench.runs.progress`.
    """

    def started(self, plan: Plan, step: int, seconds: float) -> None:
        """A run starts, at step 0 or, with its seconds of training so far, at a checkpoint."""

    def logged(self, row: Logged) -> None:
        """A row was added to train.csv."""

    def evaluated(self, row: dict[str, Any]) -> None:
        """A row was added to eval.csv."""

    def warned(self, text: str) -> None:
        """Something is not as expected; the run continues."""

    def finished(self, plan: Plan, result: dict[str, Any], *, reused: bool) -> None:
        """The run is complete; `reused` if it was complete before. `result` is result.json."""

    def failed(self, plan: Plan, error: DitbenchError) -> None:
        """The run ended in an error; the other runs continue."""


SILENT = Reporter()
"""Reports nothing."""
