"""Learning-rate sweeps, read from their run directories each time.

No file of chosen rates exists that could contradict the runs. env.json of each run records the
rates and seeds of its sweep, so that an unfinished sweep is detected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from ditbench import amounts
from ditbench.config import read_toml, validate
from ditbench.config.schema import RunConfig, flatten
from ditbench.config.sections import BudgetConfig
from ditbench.distances import title_of
from ditbench.errors import DitbenchError
from ditbench.few import few_in_group
from ditbench.report.reading.metrics import FIRST_METRICS, MetricFacts
from ditbench.report.reading.results import find_runs, metrics_of, versions_differ
from ditbench.report.reading.run import read_run
from ditbench.report.reading.skipped import Skipped, skip
from ditbench.report.reading.values import Row
from ditbench.report.words import name_and_value
from ditbench.rundir import SWEEP, RunDirectory

Runs = list[tuple[RunDirectory, RunConfig]]


class Budget(NamedTuple):
    """How long a run trains; the unit is `steps`, `flops` or `seconds`."""

    unit: str
    amount: float

    @classmethod
    def of(cls, config: BudgetConfig) -> Budget:
        """The budget of a configuration."""
        return next(cls(unit, amount) for unit, amount in config if amount is not None)

    def __str__(self) -> str:
        return amounts.budget(self.unit, self.amount)


@dataclass(frozen=True)
class Sweep:
    """The runs of one block and one task with several learning rates and the same budget."""

    block: str
    task: str  # the fingerprint of all else that determines a result: `task_of`
    budget: Budget
    rates: tuple[float, ...]  # ascending, as the seeds
    seeds: tuple[int, ...]
    metric: MetricFacts  # what decides, as in a comparison: FID, or KID where images are few
    # The final one of each (rate, seed) that ended; infinity if training diverged.
    scores: Mapping[tuple[float, int], float]
    samples: int  # of the scores
    features: str  # in which they are; those of latents are no FIDs
    config: RunConfig  # of one of its runs
    few: str = ""  # why KID decides, in words

    @property
    def missing(self) -> list[tuple[float, int]]:
        """Each (rate, seed) that has not ended. Rates are compared over the same seeds only."""
        points = [(rate, seed) for rate in self.rates for seed in self.seeds]
        return [point for point in points if point not in self.scores]

    @property
    def runs(self) -> int:
        """The number of runs of the complete sweep."""
        return len(self.rates) * len(self.seeds)

    def mean(self, rate: float) -> float:
        """The mean score of a rate: infinity if a seed diverged, NaN if one is missing."""
        return fmean(self.scores.get((rate, seed), math.nan) for seed in self.seeds)

    @property
    def best(self) -> float | None:
        """The rate of the lowest mean score; None if a run is missing or all diverged."""
        best = min(self.rates, key=self.mean)
        return best if not self.missing and math.isfinite(self.mean(best)) else None

    def origin(self, place: str) -> dict[str, Any]:
        """What env.json of a run records of the sweep, found at `place`, that chose its rate."""
        grid = {"rates": list(self.rates), "seeds": list(self.seeds)}
        how = {"budget": str(self.budget), "metric": self.metric.name}
        return {"tuned_lr": {"from": place, **grid, **how}}

    @property
    def title(self) -> str:
        """The title of the metric."""
        return title_of(self.metric.name, self.features)


def read_sweeps(root: Path) -> tuple[list[Sweep], list[Skipped]]:
    """The sweeps in a directory, which may be missing, and (path, reason) of damaged runs."""
    found: dict[tuple[str, Budget], Runs] = {}
    skipped: list[Skipped] = []
    for run in find_runs(root):
        try:
            config = validate(read_toml(run.config))
            key = (task_of(config), Budget.of(config.budget))
        except DitbenchError as error:
            skipped.append(skip(run.path, error))
        else:
            found.setdefault(key, []).append((run, config))
    return [_sweep(*key, runs, skipped) for key, runs in found.items()], skipped


def _sweep(task: str, budget: Budget, runs: Runs, skipped: list[Skipped]) -> Sweep:
    rates: set[float] = set()
    seeds: set[int] = set()
    finals: dict[tuple[float, int], Row] = {}
    diverged: dict[tuple[float, int], float] = {}
    for run, config in runs:
        rate, seed = config.train.lr, config.seed
        rates |= {rate, *_grid(run, "rates", float)}
        seeds |= {seed, *_grid(run, "seeds", int)}
        try:
            if run.is_complete():
                finals[rate, seed] = read_run(run)[-1]
            elif run.failure.is_file():
                diverged[rate, seed] = math.inf
        except DitbenchError as error:
            skipped.append(skip(run.path, error))
    first = runs[0][1]
    features, samples = first.metrics.features, first.eval.samples
    metric, few = _decisive(list(finals.values()), features, samples)
    scores = {point: float(row[metric.name]) for point, row in finals.items()} | diverged
    grid = (tuple(sorted(rates)), tuple(sorted(seeds)))
    return Sweep(first.block, task, budget, *grid, metric, scores, samples, features, first, few)


def _decisive(finals: Sequence[Row], features: str, samples: int) -> tuple[MetricFacts, str]:
    """The metric that decides, and why it is KID; of equal runs, that of their comparison."""
    real = [row["real_images"] for row in finals if not math.isnan(row["real_images"])]
    group = {"features": features, "samples": samples}
    few = few_in_group(group, min(real, default=math.nan))
    described = [row["metrics"] for row in finals]
    metrics = {each.name: each for each in metrics_of(described)}
    alike = "kid" in metrics and metrics["kid"] not in versions_differ(described)
    if few and alike and not any(math.isnan(row["kid"]) for row in finals):
        return metrics["kid"], few
    return metrics.get("fid", FIRST_METRICS[0]), ""


def _grid(run: RunDirectory, key: str, kind: type) -> list[Any]:
    """The rates or seeds of the sweep that a run was started in, if env.json has them."""
    grid = run.facts().get(SWEEP)
    values = grid.get(key) if isinstance(grid, dict) else None
    return [each for each in values if type(each) is kind] if isinstance(values, list) else []


def task_of(config: RunConfig) -> str:
    """What a learning rate is tuned for: all but rate, budget, number of evaluations and seed."""
    return _task(config).fingerprint


def differences(config: RunConfig, other: RunConfig) -> list[str]:
    """How the task of the other configuration differs, in words: `train.batch_size 64`."""
    own, others = flatten(_task(config).identity), flatten(_task(other).identity)
    keys = dict.fromkeys((*others, *own))
    return [name_and_value(key, others.get(key)) for key in keys if others.get(key) != own.get(key)]


def _task(config: RunConfig) -> RunConfig:
    return config.with_values(parent={}, train__lr=1.0, budget__steps=1, eval__points=1)
