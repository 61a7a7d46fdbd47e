"""What `ditbench run --lr tuned` takes from the sweeps of `ditbench tune`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from ditbench.rundir import TUNING

if TYPE_CHECKING:
    from pathlib import Path

    from ditbench.config.schema import RunConfig
    from ditbench.report.tuning.sweeps import Sweep
    from ditbench.training.plan import Plan

TUNED = "tuned"  # as a value of --lr
HINT = "`ditbench tune --block {}` with this command's other options"


class TunedRates:
    """The last word on configurations: the learning rate that the block's sweep chose.

    Args:
        out: where run directories go; the sweeps are below it.
    """

    def __init__(self, out: Path) -> None:
        self.place = out / TUNING
        self.chosen: dict[str, Sweep] = {}

    def __call__(self, configs: list[RunConfig]) -> list[RunConfig]:
        """The configurations with their tuned rates.

        Raises:
            DitbenchError: see `ditbench.report.tuning.choose.choose`.
        """
        from ditbench.report.tuning.choose import choose

        self.chosen = choose(configs, sweeps_below(self.place), HINT)
        return [config.with_values(train__lr=self.chosen[config.block].best) for config in configs]

    def note(self, plan: Plan) -> Plan:
        """A plan whose env.json will say where its rate came from."""
        sweep = self.chosen[plan.config.block]
        note: dict[str, Any] = {
            "from": str(self.place),
            "rates": list(sweep.rates),
            "seeds": list(sweep.seeds),
            "budget": str(sweep.budget),
        }
        return replace(plan, notes={"tuned_lr": note})

    def sentence(self) -> str:
        """What was taken, for stderr."""
        rates = ", ".join(f"{block} {sweep.best:g}" for block, sweep in self.chosen.items())
        budget = next(iter(self.chosen.values())).budget
        return f"learning rates, tuned by {budget} a run in {self.place}: {rates}"


def sweeps_below(place: Path) -> list[Sweep]:
    """The sweeps in a directory; stderr names the runs that could not be used, and why."""
    from ditbench.report.tuning.sweeps import read_sweeps

    sweeps, skipped = read_sweeps(place)
    for path, reason in skipped:
        typer.secho("skipped: ", fg="yellow", nl=False, err=True)
        typer.echo(f"{path}: {reason}", err=True)
    return sweeps
