"""A sweep over learning rates: every block with every rate, for a fraction of the budget."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import torch

from ditbench.config import RunConfig
from ditbench.data.dataset import NanSamples
from ditbench.errors import DitbenchError
from ditbench.rundir import SWEEP, TUNING
from ditbench.runs.events.reporter import Reporter
from ditbench.runs.planning.match import match_sizes
from ditbench.runs.planning.plan import Plan, plan_tasks, resolve_all
from ditbench.runs.run import execute
from ditbench.training.nonfinite import Diverged
from ditbench.training.stop import StopRequest


def plan_sweep(
    base: RunConfig,
    blocks: Sequence[str],
    out: Path,
    device: torch.device,
    *,
    rates: list[float],
    seeds: list[int],
    fraction: float,
    match: str | None = None,
    say: Callable[[str], None] = lambda _text: None,
) -> list[Plan]:
    """Plan the runs of a sweep, in a directory of their own below `out`. Nothing is written.

    Each run gets a fraction of the budget of `base`. Comparisons must use other seeds. `match` and
    `say` are those of `match_sizes`; see it, `resolve_all` and `plan_tasks` for errors.
    """
    if not 0 < fraction <= 1:
        what = f"--budget-fraction {fraction:g} is not a fraction of the budget"
        raise DitbenchError(what, "pass a number above 0 and up to 1: --budget-fraction 0.2")
    ((unit, amount),) = base.budget.model_dump(exclude_none=True).items()
    part = amount * fraction
    part = max(1, round(part)) if unit == "steps" else part
    short = base.with_values(**{f"budget__{unit}": part}, eval__points=1)
    configs = [
        short.with_values(block=block, seed=seed, train__lr=rate)
        for seed in seeds
        for block in blocks
        for rate in rates
    ]
    # Each run records which others belong to the sweep.
    notes = {SWEEP: {"rates": rates, "seeds": seeds}}
    tasks, widths = match_sizes(configs, resolve_all(configs, device), match, say)
    plans = plan_tasks(tasks, out / TUNING)
    return [plan.with_notes(notes | widths.get(plan.config.block, {})) for plan in plans]


def has_diverged(plan: Plan) -> bool:
    """Whether a run diverged: that is a result of the sweep, and it is not repeated."""
    return plan.directory.failure.is_file() and not plan.directory.is_complete()


def execute_each(
    plans: Sequence[Plan], reporter: Reporter, stop: StopRequest
) -> Generator[tuple[Plan, dict[str, Any] | DitbenchError]]:
    """Train and evaluate each run; yields it with its result, or with the error that ended it.

    A run that fails does not stop the others. Where several processes execute it together, that
    needs a failure which all of them see.

    Raises:
        Stopped: a stop was requested; the run is saved.
        DitbenchError: a failure that other processes of the world may not see.
    """
    for plan in plans:
        try:
            yield plan, execute(plan, reporter, stop)
        except DitbenchError as error:
            if not (plan.world.alone or isinstance(error, Diverged | NanSamples)):
                raise
            yield plan, error
