"""`ditbench run --lr tuned`: learning rates from the sweeps of `ditbench tune`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from ditbench.rundir import TUNING

if TYPE_CHECKING:
    from pathlib import Path

    from ditbench.config.schema import RunConfig
    from ditbench.report.tuning import Sweep
    from ditbench.runs.plan import Plan

TUNED = "tuned"  # as a value of --lr
HINT = "`ditbench tune --block {}` with this command's other options"


class TunedRates:
    """Puts the learning rate that the sweep of its block chose into each configuration.

    Args:
        out: the parent of the run directories and of the sweeps.
    """

    def __init__(self, out: Path) -> None:
        self.place = out / TUNING
        self.chosen: dict[str, Sweep] = {}

    def __call__(self, configs: list[RunConfig]) -> list[RunConfig]:
        """The configurations with their tuned rates.

        Raises:
            DitbenchError: see `ditbench.report.tuning.choose`.
        """
        from ditbench.report.tuning import choose

        self.chosen = choose(configs, sweeps_below(self.place), HINT)
        return [config.with_values(train__lr=self.chosen[config.block].best) for config in configs]

    def note(self, plan: Plan) -> Plan:
        """The plan with the origin of its learning rate, for env.json."""
        sweep = self.chosen[plan.config.block]
        note: dict[str, Any] = {
            "from": str(self.place),
            "rates": list(sweep.rates),
            "seeds": list(sweep.seeds),
            "budget": str(sweep.budget),
        }
        return replace(plan, notes={"tuned_lr": note})

    def sentence(self) -> str:
        """The chosen rates in one line."""
        rates = ", ".join(f"{block} {sweep.best:g}" for block, sweep in self.chosen.items())
        budget = next(iter(self.chosen.values())).budget
        return f"learning rates, tuned with {budget} per run in {self.place}: {rates}"


def sweeps_below(place: Path) -> list[Sweep]:
    """The sweeps in a directory; prints the runs that cannot be used, and why, on stderr."""
    from ditbench.report.tuning import read_sweeps

    sweeps, skipped = read_sweeps(place)
    for path, reason in skipped:
        typer.secho("skipped: ", fg="yellow", nl=False, err=True)
        typer.echo(f"{path}: {reason}", err=True)
    return sweeps
