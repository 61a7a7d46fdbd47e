"""A sweep over learning rates: every block by every rate, with a part of the budget each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ditbench.errors import DitbenchError
from ditbench.rundir import SWEEP, TUNING
from ditbench.training.plan import plan_all
from ditbench.training.run import Event, Failed, execute

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import torch

    from ditbench.config import RunConfig
    from ditbench.training.plan import Plan
    from ditbench.training.signals import StopRequest


@dataclass(frozen=True)
class Grid:
    """What is tried of each block.

    Attributes:
        rates: learning rates after the warm-up.
        seeds: none of which a comparison must use.
        fraction: of the budget, above 0 and at most 1.
    """

    rates: Sequence[float]
    seeds: Sequence[int]
    fraction: float

    def describe(self) -> dict[str, Any]:
        """What env.json says of it: each run of a sweep tells which others belong to it."""
        return {SWEEP: {"rates": list(self.rates), "seeds": list(self.seeds)}}


def plan_sweep(
    base: RunConfig,
    blocks: Sequence[str],
    grid: Grid,
    out: Path,
    device: torch.device,
    compiling: str = "off",
) -> list[Plan]:
    """Plan the runs of a sweep, in a place of their own below `out`; nothing is written.

    Args:
        base: what is to be compared later, with its whole budget.
        blocks: the strategies.
        grid: what is tried of each.
        out: where run directories go.
        device: where to train.
        compiling: see `plan_all`.

    Raises:
        DitbenchError: a fraction that is not in (0, 1], and all that `plan_all` refuses.
    """
    if not 0 < grid.fraction <= 1:
        raise DitbenchError(
            f"--budget-fraction {grid.fraction:g} is no share of a budget",
            "write one above 0 and up to 1: --budget-fraction 0.2",
        )
    short = base.with_values(**_part(base, grid.fraction), eval__points=1)
    configs = [
        short.with_values(block=block, seed=seed, train__lr=rate)
        for seed in grid.seeds
        for block in blocks
        for rate in grid.rates
    ]
    plans = plan_all(configs, out / TUNING, device, compiling)
    return [replace(plan, notes=grid.describe(), sweeps=True) for plan in plans]


def _part(config: RunConfig, fraction: float) -> dict[str, float]:
    """A part of the budget, in its own unit."""
    budget = config.budget
    if budget.steps is not None:
        return {"budget__steps": max(1, round(budget.steps * fraction))}
    if budget.flops is not None:
        return {"budget__flops": budget.flops * fraction}
    return {"budget__seconds": (budget.seconds or 0.0) * fraction}


def has_diverged(plan: Plan) -> bool:
    """Whether a run of a sweep ended in numbers that are not finite: it would do so again."""
    return plan.directory.failure.is_file() and not plan.directory.is_complete()


def execute_sweep(
    plans: Sequence[Plan], on_event: Callable[[Event], None], stop: StopRequest
) -> list[Plan]:
    """Train and evaluate each run that is not complete; a run that fails does not stop the others.

    A run that diverged says something of its learning rate and is not tried again. One that failed
    for another reason, such as a lack of memory, says nothing of it: the next sweep tries it again.

    Args:
        plans: of `plan_sweep`.
        on_event: told what happens.
        stop: a request to save and leave.

    Returns:
        The runs that failed for another reason.

    Raises:
        Stopped: a stop was asked for; the run is saved.
    """
    failed = []
    for plan in plans:
        try:
            execute(plan, on_event, stop)
        except DitbenchError as error:
            on_event(Failed(plan, error))
            if not has_diverged(plan):
                failed.append(plan)
    return failed
