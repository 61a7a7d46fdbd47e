"""Choosing a learning rate for each block from sweeps that are alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ditbench.config.schema import RunConfig
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.report.reading.sweeps import Budget, Sweep, differences, task_of
from ditbench.report.words import seeds_in_words


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
    of_block = {config.block: config for config in configs}
    fitting = {block: _fitting(config, sweeps) for block, config in of_block.items()}
    if lacking := [block for block, found in fitting.items() if not found]:
        names, others = ",".join(lacking), _nearest(of_block[lacking[0]], sweeps)
        what = f"no learning rate was tuned for {names} under this configuration{others}"
        raise DitbenchError(what, hint.format(names))
    common = set[Budget].intersection(*map(set, fitting.values()))
    if not common:
        raise _unlike({block: next(iter(of.values())) for block, of in fitting.items()}, hint)
    wanted = Budget.of(configs[0].budget).amount
    nearest = min(common, key=lambda b: (abs(math.log(b.amount / wanted)), -b.amount))
    chosen = {block: of[nearest] for block, of in fitting.items()}
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


def _fitting(config: RunConfig, sweeps: Sequence[Sweep]) -> dict[Budget, Sweep]:
    """The sweeps of a block under a configuration, by budget, with budgets of the same unit."""
    task, unit = task_of(config), Budget.of(config.budget).unit
    own = [sweep for sweep in sweeps if sweep.task == task and sweep.budget.unit == unit]
    return {sweep.budget: sweep for sweep in own}


def _unlike(sweeps: Mapping[str, Sweep], hint: str) -> DitbenchError:
    each = [f"{block} with {s.budget}, {seeds_in_words(s.seeds)}" for block, s in sweeps.items()]
    message = f"these blocks were not tuned alike: {'; '.join(each)}"
    return DitbenchError(message, hint.format(",".join(sweeps)))


def _nearest(config: RunConfig, sweeps: Sequence[Sweep]) -> str:
    """How the sweep most like a configuration differs from it; empty if there is none."""
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
