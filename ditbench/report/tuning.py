"""Learning-rate sweeps: read from their run directories each time, chosen from, shown.

No file of chosen rates exists that could contradict the runs. env.json of each run records the
rates and seeds of its sweep, so that an unfinished sweep is detected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from ditbench import amounts
from ditbench.config import read_toml, validate
from ditbench.config.schema import RunConfig
from ditbench.config.sections import BudgetConfig
from ditbench.distances import title_of
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.few import few_in_group
from ditbench.report.reading.metrics import FIRST_METRICS, MetricFacts
from ditbench.report.reading.results import find_runs, metrics_of, versions_differ
from ditbench.report.reading.run import read_run
from ditbench.report.reading.skipped import Skipped, skip
from ditbench.report.reading.values import Row
from ditbench.report.tables.columns import Column
from ditbench.report.tables.render import BEST_OF_ROW
from ditbench.report.tuning_task import differences, task_of
from ditbench.report.words import seeds_in_words, suffix, sweep_remark
from ditbench.rundir import SWEEP, RunDirectory

if TYPE_CHECKING:
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
    """The runs of one block and one task with several learning rates and the same budget.

    Attributes:
        task: the fingerprint of all else that determines a result: `task_of`.
        rates, seeds: ascending.
        metric: what decides, as in a comparison: FID, or KID where images are few.
        scores: the final one of each (rate, seed) that ended; infinity if training diverged.
        samples: the number of samples of the scores.
        features: in which they are; those of latents are no FIDs.
        config: of one of its runs.
        few: why KID decides, in words, or an empty text.
    """

    block: str
    task: str
    budget: Budget
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    metric: MetricFacts
    scores: Mapping[tuple[float, int], float]
    samples: int
    features: str
    config: RunConfig
    few: str = ""

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


def choose(configs: Sequence[RunConfig], sweeps: list[Sweep], hint: str) -> dict[str, Sweep]:
    """For each block the sweep whose `best` is its learning rate.

    All blocks must have been tuned alike, with one budget and the same seeds. Of several such
    budgets the one nearest to that of the runs is taken. No run may have a seed of the sweeps.

    Args:
        configs: resolved, of runs that differ in block and seed only.
        sweeps: of `read_sweeps`.
        hint: how to tune a block; `{}` stands for the names.

    Raises:
        DitbenchError: a block that was not tuned under this configuration, not completely, unlike
            the others or with a seed of the runs; exit code 1 if it diverged at all rates.
    """
    tasks = {config.block: task_of(config) for config in configs}
    wanted = Budget.of(next(iter(configs)).budget)
    comparable = [sweep for sweep in sweeps if sweep.budget.unit == wanted.unit]
    own = {block: [s for s in comparable if s.task == task] for block, task in tasks.items()}
    if lacking := [block for block, fitting in own.items() if not fitting]:
        others = _nearest(next(c for c in configs if c.block == lacking[0]), sweeps)
        names = ",".join(lacking)
        raise DitbenchError(
            f"no learning rate was tuned for {names} under this configuration{others}",
            hint.format(names),
        )
    common = set[Budget].intersection(*({each.budget for each in of} for of in own.values()))
    if not common:
        raise _unlike({block: of[0] for block, of in own.items()}, hint)
    nearest = min(common, key=lambda b: (abs(math.log(b.amount / wanted.amount)), -b.amount))
    chosen = {block: next(s for s in of if s.budget == nearest) for block, of in own.items()}
    for sweep in chosen.values():
        _check_complete(sweep, hint)
    if len({sweep.seeds for sweep in chosen.values()}) > 1:
        raise _unlike(chosen, hint)
    for config in configs:
        if config.seed in chosen[config.block].seeds:
            raise DitbenchError(
                f"seed {config.seed} was used to choose the learning rate of {config.block}, so a "
                "comparison must not use it",
                "run other seeds: --seeds 0,1,2",
            )
    return chosen


def _unlike(sweeps: Mapping[str, Sweep], hint: str) -> DitbenchError:
    each = [f"{block} with {s.budget}, {seeds_in_words(s.seeds)}" for block, s in sweeps.items()]
    message = f"these blocks were not tuned alike: {'; '.join(each)}"
    return DitbenchError(message, hint.format(",".join(sweeps)))


def _nearest(config: RunConfig, sweeps: Sequence[Sweep]) -> str:
    """In what the sweep that is most like a configuration differs from it; empty without any."""
    wanted = Budget.of(config.budget).unit
    found: list[list[str]] = []
    for sweep in sweeps:
        if sweep.block == config.block:
            budget = [] if sweep.budget.unit == wanted else [f"a budget of {sweep.budget}"]
            found.append([*differences(config, sweep.config), *budget])
    nearest: list[str] = min(found, key=len, default=[])
    return f" (a sweep has {', '.join(nearest)})" if found else ""


def _check_complete(sweep: Sweep, hint: str) -> None:
    if sweep.missing:
        rate, seed = sweep.missing[0]
        rates, seeds = (",".join(map(str, each)) for each in (sweep.rates, sweep.seeds))
        raise DitbenchError(
            f"the sweep of {sweep.block} is not finished: {len(sweep.missing)} of {sweep.runs} "
            f"runs are missing, the first has --lr {rate:g}, seed {seed}",
            hint.format(f"{sweep.block} --lr {rates} --seeds {seeds},"),
        )
    if sweep.best is None:
        raise DitbenchError(
            f"{sweep.block} diverged at every learning rate of its sweep, "
            f"from {sweep.rates[0]:g} to {sweep.rates[-1]:g}",
            "try lower ones: " + hint.format(sweep.block),
            EXIT_FAILED,
        )


def tuning_columns(sweeps: Sequence[Sweep], *, for_people: bool) -> tuple[Column, ...]:
    """The columns of `tuning_row`. For programs, diverged rates have a column of their own."""
    titles = {each.metric.name: f"{each.title}-{suffix(each.samples)}" for each in sweeps}
    scores = {
        f"{metric}_at_{rate}": f"{title} ↓ lr={rate:g}"
        for rate in sorted({rate for sweep in sweeps for rate in sweep.rates})
        for metric, title in titles.items()
    }
    if for_people:
        return (
            Column("block", "Block"),
            *(Column(f"shown_{name}", header, "{}".format) for name, header in scores.items()),
            Column("lr", "Learning rate", "{:g}".format),
            Column("remark", "Remark"),
        )
    names = ["block", "lr", *scores, "diverged", "missing", "seeds", "budget", "samples", "remark"]
    return tuple(Column(name, name) for name in names)


def tuning_row(sweep: Sweep) -> dict[str, Any]:
    """The row of a block, with its best rate marked."""
    row: dict[str, Any] = {}
    diverged = []
    write = amounts.writer(sweep.metric.format)
    for rate in sweep.rates:
        name, mean = f"{sweep.metric.name}_at_{rate}", sweep.mean(rate)
        row[name] = mean
        if math.isinf(mean):
            diverged.append(str(rate))
        if not math.isnan(mean):
            row[f"shown_{name}"] = "diverged" if math.isinf(mean) else write(mean)
    return row | {
        "block": sweep.block,
        "lr": sweep.best,
        "diverged": ", ".join(diverged) or None,
        "missing": len(sweep.missing),
        "seeds": ", ".join(map(str, sweep.seeds)),
        "budget": str(sweep.budget),
        "samples": sweep.samples,
        "remark": sweep_remark(sweep.rates, sweep.best, len(sweep.missing), sweep.runs),
        BEST_OF_ROW: sweep.best and f"shown_{sweep.metric.name}_at_{sweep.best}",
    }
