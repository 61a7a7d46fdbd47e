"""A sweep over learning rates: every block with every rate, for a fraction of the budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ditbench.errors import DitbenchError
from ditbench.rundir import SWEEP, TUNING
from ditbench.runs.plan import plan_all
from ditbench.runs.run import execute

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from ditbench.config import RunConfig
    from ditbench.runs.plan import Plan
    from ditbench.runs.reporter import Reporter
    from ditbench.training.stop import StopRequest


@dataclass(frozen=True)
class Grid:
    """The runs of each block.

    Attributes:
        rates: learning rates after the warm-up.
        seeds: seeds; comparisons must not use them.
        fraction: of the budget, above 0 and at most 1.
    """

    rates: Sequence[float]
    seeds: Sequence[int]
    fraction: float

    def describe(self) -> dict[str, Any]:
        """An entry of env.json: each run of a sweep records which others belong to it."""
        return {SWEEP: {"rates": list(self.rates), "seeds": list(self.seeds)}}


def plan_sweep(
    base: RunConfig,
    blocks: Sequence[str],
    grid: Grid,
    out: Path,
    device: torch.device,
) -> list[Plan]:
    """Plan the runs of a sweep, in a directory of their own below `out`. Nothing is written.

    Args:
        base: the configuration to be compared later, with its whole budget.
        blocks: names of blocks.
        grid: the runs of each block.
        out: the parent of the run directories.
        device: where to train.

    Raises:
        DitbenchError: the fraction is not in (0, 1]; see also `plan_all`.
    """
    if not 0 < grid.fraction <= 1:
        raise DitbenchError(
            f"--budget-fraction {grid.fraction:g} is not a fraction of the budget",
            "pass a number above 0 and up to 1: --budget-fraction 0.2",
        )
    short = base.with_values(**_part(base, grid.fraction), eval__points=1)
    configs = [
        short.with_values(block=block, seed=seed, train__lr=rate)
        for seed in grid.seeds
        for block in blocks
        for rate in grid.rates
    ]
    plans = plan_all(configs, out / TUNING, device)
    return [replace(plan, notes=grid.describe(), sweeps=True) for plan in plans]


def _part(config: RunConfig, fraction: float) -> dict[str, float]:
    """A fraction of the budget, in its own unit."""
    ((unit, amount),) = config.budget.model_dump(exclude_none=True).items()
    part = amount * fraction
    return {f"budget__{unit}": max(1, round(part)) if unit == "steps" else part}


def has_diverged(plan: Plan) -> bool:
    """Whether a run ended with values that are not finite. It would do so again."""
    return plan.directory.failure.is_file() and not plan.directory.is_complete()


def execute_sweep(plans: Sequence[Plan], reporter: Reporter, stop: StopRequest) -> list[Plan]:
    """Train and evaluate each run; a run that fails does not stop the others.

    A run that diverges is a result of the sweep and is not repeated. A run that fails for another
    reason, such as too little memory, is repeated by the next sweep.

    Args:
        plans: from `plan_sweep`.
        reporter: receives the events of the runs.
        stop: a request to save and leave.

    Returns:
        The runs that failed for another reason.

    Raises:
        Stopped: a stop was requested; the run is saved.
    """
    failed = []
    for plan in plans:
        try:
            execute(plan, reporter, stop)
        except DitbenchError as error:
            reporter.failed(plan, error)
            if not has_diverged(plan):
                failed.append(plan)
    return failed
