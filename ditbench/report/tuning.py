"""The learning rates that sweeps chose: read from their run directories each time.

There is no file of chosen rates that could say something else than the runs. Each run of a sweep
tells in env.json which rates and seeds the sweep has, so that one that was not finished is found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from ditbench.config import read_toml, validate
from ditbench.errors import EXIT_FAILED, DitbenchError, one_line
from ditbench.files import read_json
from ditbench.find import find_runs
from ditbench.report import amounts
from ditbench.report.read import read_run
from ditbench.rundir import SWEEP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
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
        """The one that a configuration names."""
        ((unit, amount),) = ((name, value) for name, value in config if value is not None)
        return cls(unit, amount)

    def __str__(self) -> str:
        writers = {"flops": amounts.flops, "seconds": amounts.seconds}
        return writers.get(self.unit, "{:,} steps".format)(self.amount)


@dataclass(frozen=True)
class Sweep:
    """What is known of one block in one task, each rate trained with one part of the budget.

    Attributes:
        block: its name.
        task: the fingerprint of all else that determines a result: `task_of`.
        budget: of each run.
        rates: rising.
        seeds: rising.
        fids: the final FID of each (rate, seed) that ended; infinity where training diverged.
        samples: that the FIDs are over.
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
        """Each (rate, seed) that has not ended: rates are compared over the same seeds alone."""
        points = [(rate, seed) for rate in self.rates for seed in self.seeds]
        return [point for point in points if point not in self.fids]

    def mean(self, rate: float) -> float:
        """The mean FID of a rate: infinity where a seed diverged, NaN where one is missing."""
        return fmean(self.fids.get((rate, seed), math.nan) for seed in self.seeds)

    @property
    def best(self) -> float | None:
        """The rate of the lowest mean FID; None where a run is missing, or all diverged."""
        if self.missing:
            return None
        best = min(self.rates, key=self.mean)
        return best if math.isfinite(self.mean(best)) else None


def task_of(config: RunConfig) -> str:
    """What a learning rate is tuned for: all but rate, budget, number of evaluations and seed.

    Args:
        config: resolved: it says no `auto`.
    """
    return config.with_values(train__lr=1.0, budget__steps=1, eval__points=1).fingerprint


def read_sweeps(root: Path) -> tuple[list[Sweep], Skipped]:
    """The sweeps in a directory, and the (path, reason) of the runs that are damaged.

    Args:
        root: it need not be there.
    """
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
    return [_sweep(key, runs, skipped) for key, runs in found.items()], skipped


def _sweep(
    key: tuple[str, Budget], runs: list[tuple[RunDirectory, RunConfig]], skipped: Skipped
) -> Sweep:
    rates: set[float] = set()
    seeds: set[int] = set()
    fids: dict[tuple[float, int], float] = {}
    for run, config in runs:
        grid = _grid(run)
        rates |= {config.train.lr, *grid[0]}
        seeds |= {config.seed, *grid[1]}
        try:
            fid = _final_fid(run)
        except DitbenchError as error:
            skipped.append((one_line(str(run.path)), one_line(error.message)))
        else:
            if fid is not None:
                fids[config.train.lr, config.seed] = fid
    task, budget = key
    first = runs[0][1]
    return Sweep(
        first.block,
        task,
        budget,
        tuple(sorted(rates)),
        tuple(sorted(seeds)),
        fids,
        first.eval.samples,
    )


def _grid(run: RunDirectory) -> tuple[list[float], list[int]]:
    """The rates and seeds of the sweep that a run was begun in, as far as it tells."""
    if not run.environment.is_file():  # a pipe would be waited for
        return [], []
    try:
        told = read_json(run.environment).get(SWEEP)
    except DitbenchError:
        return [], []
    table = told if isinstance(told, dict) else {}
    rates, seeds = (
        value if isinstance(value := table.get(name), list) else [] for name in ("rates", "seeds")
    )
    return [x for x in rates if type(x) is float], [x for x in seeds if type(x) is int]


def _final_fid(run: RunDirectory) -> float | None:
    """Infinity where training diverged, None where it has not ended."""
    if not run.is_complete():
        return math.inf if run.failure.is_file() else None
    return float(read_run(run)[-1]["fid"])


def choose(configs: Iterable[RunConfig], sweeps: list[Sweep], hint: str) -> dict[str, Sweep]:
    """For each block the sweep that says its learning rate: each has one as its `best`.

    All blocks have to be tuned alike, by one budget and the same seeds. Of several such budgets the
    one nearest to that of the runs is taken; no run may have a seed of the sweeps.

    Args:
        configs: resolved, of runs that differ in block and seed alone.
        sweeps: of `read_sweeps`.
        hint: what tunes a block; `{}` stands for the names.

    Raises:
        DitbenchError: a block that was not tuned under this configuration, not to the end, unlike
            the others or with one of the runs' seeds; exit code 1, one that diverged at all rates.
    """
    by_block = {config.block: config for config in configs}
    own = {block: _fitting(config, sweeps) for block, config in by_block.items()}
    if lacking := [block for block, fitting in own.items() if not fitting]:
        raise _not_tuned(lacking, sweeps, hint)
    common = set[Budget].intersection(*({each.budget for each in of} for of in own.values()))
    if not common:
        raise _unlike({block: of[0] for block, of in own.items()}, hint)
    wanted = Budget.of(next(iter(by_block.values())).budget).amount
    budget = min(common, key=lambda each: (abs(math.log(each.amount / wanted)), -each.amount))
    chosen = {
        block: next(each for each in of if each.budget == budget) for block, of in own.items()
    }
    _must_be_whole(chosen, hint)
    _must_be_apart(configs, chosen)
    return chosen


def _fitting(config: RunConfig, sweeps: list[Sweep]) -> list[Sweep]:
    """The sweeps of a run's block and task whose budget is in the unit of the run's."""
    task, unit = task_of(config), Budget.of(config.budget).unit
    return [sweep for sweep in sweeps if sweep.task == task and sweep.budget.unit == unit]


def _not_tuned(blocks: list[str], sweeps: list[Sweep], hint: str) -> DitbenchError:
    elsewhere = {sweep.block for sweep in sweeps}.intersection(blocks)
    others = " (there are sweeps under another one)" if elsewhere else ""
    names = ",".join(blocks)
    return DitbenchError(
        f"no learning rate was tuned for {names} under this configuration{others}",
        hint.format(names),
    )


def _unlike(sweeps: Mapping[str, Sweep], hint: str) -> DitbenchError:
    told = "; ".join(
        f"{block} by {sweep.budget}, seeds {', '.join(map(str, sweep.seeds))}"
        for block, sweep in sweeps.items()
    )
    return DitbenchError(
        f"these blocks were not tuned alike: {told}", hint.format(",".join(sweeps))
    )


def _must_be_whole(chosen: Mapping[str, Sweep], hint: str) -> None:
    for block, sweep in chosen.items():
        if missing := sweep.missing:
            rate, seed = missing[0]
            total = len(sweep.rates) * len(sweep.seeds)
            raise DitbenchError(
                f"the sweep of {block} is not finished: {len(missing)} of {total} runs are "
                f"missing, the first is of --lr {rate:g}, seed {seed}",
                hint.format(
                    f"{block} --lr {','.join(map(str, sweep.rates))} "
                    f"--seeds {','.join(map(str, sweep.seeds))},"
                ),
            )
        if sweep.best is None:
            raise DitbenchError(
                f"{block} diverged at every learning rate of its sweep, from {sweep.rates[0]:g} to "
                f"{sweep.rates[-1]:g}",
                "try lower ones: " + hint.format(block),
                EXIT_FAILED,
            )
    if len({sweep.seeds for sweep in chosen.values()}) > 1:
        raise _unlike(chosen, hint)


def _must_be_apart(configs: Iterable[RunConfig], chosen: Mapping[str, Sweep]) -> None:
    """Refuse to compare blocks by the draws that chose their rates."""
    for config in configs:
        if config.seed in chosen[config.block].seeds:
            raise DitbenchError(
                f"seed {config.seed} chose the learning rate of {config.block}, so that a "
                "comparison must not use it",
                "run other seeds: --seeds 0,1,2",
            )
