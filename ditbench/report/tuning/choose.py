"""The learning rate of each block, from the sweeps of all blocks together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.report.tuning.sweeps import Budget, task_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ditbench.config.schema import RunConfig
    from ditbench.report.tuning.sweeps import Sweep


def choose(configs: Iterable[RunConfig], sweeps: list[Sweep], hint: str) -> dict[str, Sweep]:
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
    _check_complete(chosen, hint)
    _check_seeds(configs, chosen)
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
    listed = "; ".join(
        f"{block} with {sweep.budget}, seeds {', '.join(map(str, sweep.seeds))}"
        for block, sweep in sweeps.items()
    )
    return DitbenchError(
        f"these blocks were not tuned alike: {listed}", hint.format(",".join(sweeps))
    )


def _check_complete(chosen: Mapping[str, Sweep], hint: str) -> None:
    for block, sweep in chosen.items():
        if missing := sweep.missing:
            rate, seed = missing[0]
            total = len(sweep.rates) * len(sweep.seeds)
            raise DitbenchError(
                f"the sweep of {block} is not finished: {len(missing)} of {total} runs are "
                f"missing, the first has --lr {rate:g}, seed {seed}",
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


def _check_seeds(configs: Iterable[RunConfig], chosen: Mapping[str, Sweep]) -> None:
    """Refuse to compare blocks with the seeds that chose their rates."""
    for config in configs:
        if config.seed in chosen[config.block].seeds:
            raise DitbenchError(
                f"seed {config.seed} was used to choose the learning rate of {config.block}, so a "
                "comparison must not use it",
                "run other seeds: --seeds 0,1,2",
            )
