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
