"""Learning-rate sweeps, read from their run directories each time.

No file of chosen rates exists that could contradict the runs. env.json of each run records the
rates and seeds of its sweep, so that an unfinished sweep is detected.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ditbench.config import read_toml, validate
from ditbench.errors import DitbenchError, one_line
from ditbench.files import read_json
from ditbench.report import amounts
from ditbench.report.reading.results import find_runs
from ditbench.report.reading.run import read_run
from ditbench.rundir import SWEEP

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ditbench.config.schema import BudgetConfig, RunConfig
    from ditbench.rundir import RunDirectory

    Skipped = list[tuple[str, str]]


@dataclass(frozen=True)
class Budget:
    """How long a run trains.

    Attributes:
        unit: `steps`, `flops` or `seconds`.
        amount: in this unit.
    """

    unit: str
    amount: float

    @classmethod
    def of(cls, config: BudgetConfig) -> Budget:
        """The budget of a configuration."""
        ((unit, amount),) = ((name, value) for name, value in config if value is not None)
        return cls(unit, amount)

    def __str__(self) -> str:
        return amounts.budget(self.unit, self.amount)


@dataclass(frozen=True)
class Sweep:
    """The runs of one block and one task with several learning rates and the same budget.

    Attributes:
        block: its name.
        task: the fingerprint of all else that determines a result: `task_of`.
        budget: of each run.
        rates: ascending.
        seeds: ascending.
        fids: the final FID of each (rate, seed) that ended; infinity if training diverged.
        samples: the number of samples of the FIDs.
    """

    block: str
    task: str
    budget: Budget
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    fids: Mapping[tuple[float, int], float]
    samples: int

    @property
    def missing(self) -> list[tuple[float, int]]:
        """Each (rate, seed) that has not ended. Rates are compared over the same seeds only."""
        points = [(rate, seed) for rate in self.rates for seed in self.seeds]
        return [point for point in points if point not in self.fids]

    def mean(self, rate: float) -> float:
        """The mean FID of a rate: infinity if a seed diverged, NaN if one is missing."""
        return fmean(self.fids.get((rate, seed), math.nan) for seed in self.seeds)

    @property
    def best(self) -> float | None:
        """The rate of the lowest mean FID; None if a run is missing or all diverged."""
        if self.missing:
            return None
        best = min(self.rates, key=self.mean)
        return best if math.isfinite(self.mean(best)) else None


def task_of(config: RunConfig) -> str:
    """What a learning rate is tuned for: all but rate, budget, number of evaluations and seed.

    Args:
        config: resolved, without `auto`.
    """
    return config.with_values(train__lr=1.0, budget__steps=1, eval__points=1).fingerprint


def read_sweeps(root: Path) -> tuple[list[Sweep], Skipped]:
    """The sweeps in a directory, which may be missing, and (path, reason) of damaged runs."""
    found: dict[tuple[str, Budget], list[tuple[RunDirectory, RunConfig]]] = {}
    skipped: Skipped = []
    for run in find_runs(root):
        try:
            config = validate(read_toml(run.config))
            key = (task_of(config), Budget.of(config.budget))
        except DitbenchError as error:
            skipped.append((one_line(str(run.path)), one_line(error.message)))
        else:
            found.setdefault(key, []).append((run, config))
    return [_sweep(*key, runs, skipped) for key, runs in found.items()], skipped


def _sweep(
    task: str, budget: Budget, runs: list[tuple[RunDirectory, RunConfig]], skipped: Skipped
) -> Sweep:
    rates: set[float] = set()
    seeds: set[int] = set()
    fids: dict[tuple[float, int], float] = {}
    for run, config in runs:
        grid = _grid(run)
        rates |= {config.train.lr, *_only(float, grid.get("rates"))}
        seeds |= {config.seed, *_only(int, grid.get("seeds"))}
        try:
            if (fid := _final_fid(run)) is not None:
                fids[config.train.lr, config.seed] = fid
        except DitbenchError as error:
            skipped.append((one_line(str(run.path)), one_line(error.message)))
    first = runs[0][1]
    ascending = tuple(sorted(rates)), tuple(sorted(seeds))
    return Sweep(first.block, task, budget, *ascending, fids, first.eval.samples)


def _grid(run: RunDirectory) -> dict[str, Any]:
    """The rates and seeds of the sweep that a run was started in, if env.json has them."""
    if not run.environment.is_file():  # reading a pipe would block
        return {}
    try:
        grid = read_json(run.environment).get(SWEEP)
    except DitbenchError:
        return {}
    return grid if isinstance(grid, dict) else {}


def _only(kind: type, values: Any) -> list[Any]:
    return [each for each in values if type(each) is kind] if isinstance(values, list) else []


def _final_fid(run: RunDirectory) -> float | None:
    """Infinity if training diverged, None if it has not ended."""
    if not run.is_complete():
        return math.inf if run.failure.is_file() else None
    return float(read_run(run)[-1]["fid"])
