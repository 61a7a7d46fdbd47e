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

from ditbench.config import read_toml, validate
from ditbench.config.schema import RunConfig
from ditbench.config.sections import BudgetConfig
from ditbench.distances import title_of
from ditbench.errors import EXIT_FAILED, DitbenchError, one_line
from ditbench.report import amounts
from ditbench.report.reading.results import find_runs
from ditbench.report.reading.run import read_run
from ditbench.report.tables.columns import Column
from ditbench.report.tables.render import BEST_OF_ROW
from ditbench.report.words import seeds_in_words, sweep_remark
from ditbench.rundir import SWEEP, RunDirectory

if TYPE_CHECKING:
    Runs = list[tuple[RunDirectory, RunConfig]]
    Skipped = list[tuple[str, str]]


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
        fids: the final FID of each (rate, seed) that ended; infinity if training diverged.
        samples: the number of samples of the FIDs.
        features: in which they are; those of latents are no FIDs.
    """

    block: str
    task: str
    budget: Budget
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    fids: Mapping[tuple[float, int], float]
    samples: int
    features: str

    @property
    def missing(self) -> list[tuple[float, int]]:
        """Each (rate, seed) that has not ended. Rates are compared over the same seeds only."""
        points = [(rate, seed) for rate in self.rates for seed in self.seeds]
        return [point for point in points if point not in self.fids]

    @property
    def runs(self) -> int:
        """The number of runs of the complete sweep."""
        return len(self.rates) * len(self.seeds)

    def mean(self, rate: float) -> float:
        """The mean FID of a rate: infinity if a seed diverged, NaN if one is missing."""
        return fmean(self.fids.get((rate, seed), math.nan) for seed in self.seeds)

    @property
    def best(self) -> float | None:
        """The rate of the lowest mean FID; None if a run is missing or all diverged."""
        best = min(self.rates, key=self.mean)
        return best if not self.missing and math.isfinite(self.mean(best)) else None

    def origin(self, place: str) -> dict[str, Any]:
        """What env.json of a run records of the sweep, found at `place`, that chose its rate."""
        grid = {"rates": list(self.rates), "seeds": list(self.seeds)}
        return {"tuned_lr": {"from": place, **grid, "budget": str(self.budget)}}


def task_of(config: RunConfig) -> str:
    """What a learning rate is tuned for: all but rate, budget, number of evaluations and seed."""
    return config.with_values(parent={}, train__lr=1.0, budget__steps=1, eval__points=1).fingerprint


def read_sweeps(root: Path) -> tuple[list[Sweep], Skipped]:
    """The sweeps in a directory, which may be missing, and (path, reason) of damaged runs."""
    found: dict[tuple[str, Budget], Runs] = {}
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


def _sweep(task: str, budget: Budget, runs: Runs, skipped: Skipped) -> Sweep:
    rates: set[float] = set()
    seeds: set[int] = set()
    fids: dict[tuple[float, int], float] = {}
    for run, config in runs:
        rate, seed = config.train.lr, config.seed
        rates |= {rate, *_grid(run, "rates", float)}
        seeds |= {seed, *_grid(run, "seeds", int)}
        try:
            if run.is_complete():
                fids[rate, seed] = float(read_run(run)[-1]["fid"])
            elif run.failure.is_file():
                fids[rate, seed] = math.inf  # training diverged
        except DitbenchError as error:
            skipped.append((one_line(str(run.path)), one_line(error.message)))
    first = runs[0][1]
    return Sweep(
        first.block,
        task,
        budget,
        tuple(sorted(rates)),
        tuple(sorted(seeds)),
        fids,
        first.eval.samples,
        first.metrics.features,
    )


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
        elsewhere = any(sweep.block in lacking for sweep in sweeps)
        others = " (there are sweeps under another one)" * elsewhere
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
    rates = sorted({rate for sweep in sweeps for rate in sweep.rates})
    if for_people:
        fid = f"{title_of('fid', sweeps[0].features)}-{amounts.suffix(sweeps[0].samples)}"
        return (
            Column("block", "Block"),
            *(Column(f"shown_{rate}", f"{fid} ↓ lr={rate:g}", "{}".format) for rate in rates),
            Column("lr", "Learning rate", "{:g}".format),
            Column("remark", "Remark"),
        )
    names = ["block", "lr", *(f"fid_at_{rate}" for rate in rates)]
    names += ["diverged", "missing", "seeds", "budget", "samples", "remark"]
    return tuple(Column(name, name) for name in names)


def tuning_row(sweep: Sweep) -> dict[str, Any]:
    """The row of a block, with its best rate marked."""
    row: dict[str, Any] = {}
    diverged = []
    for rate in sweep.rates:
        mean = row[f"fid_at_{rate}"] = sweep.mean(rate)
        if math.isinf(mean):
            diverged.append(str(rate))
        if not math.isnan(mean):
            row[f"shown_{rate}"] = "diverged" if math.isinf(mean) else f"{mean:,.2f}"
    return row | {
        "block": sweep.block,
        "lr": sweep.best,
        "diverged": ", ".join(diverged) or None,
        "missing": len(sweep.missing),
        "seeds": ", ".join(map(str, sweep.seeds)),
        "budget": str(sweep.budget),
        "samples": sweep.samples,
        "remark": sweep_remark(sweep.rates, sweep.best, len(sweep.missing), sweep.runs),
        BEST_OF_ROW: None if sweep.best is None else f"shown_{sweep.best}",
    }
