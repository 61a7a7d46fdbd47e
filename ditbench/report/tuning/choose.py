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
    wanted = Budget.of(next(iter(by_block.values())).budget)
    comparable = [sweep for sweep in sweeps if sweep.budget.unit == wanted.unit]
    own = {
        block: [sweep for sweep in comparable if sweep.task == task_of(config)]
        for block, config in by_block.items()
    }
    if lacking := [block for block, fitting in own.items() if not fitting]:
        elsewhere = not {sweep.block for sweep in sweeps}.isdisjoint(lacking)
        others = " (there are sweeps under another one)" if elsewhere else ""
        names = ",".join(lacking)
        raise DitbenchError(
            f"no learning rate was tuned for {names} under this configuration{others}",
            hint.format(names),
        )
    common = set[Budget].intersection(*({each.budget for each in of} for of in own.values()))
    if not common:
        raise _unlike({block: of[0] for block, of in own.items()}, hint)
    budget = min(
        common, key=lambda each: (abs(math.log(each.amount / wanted.amount)), -each.amount)
    )
    chosen = {
        block: next(each for each in of if each.budget == budget) for block, of in own.items()
    }
    for block, sweep in chosen.items():
        _check_complete(block, sweep, hint)
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
    listed = "; ".join(
        f"{block} with {sweep.budget}, seeds {', '.join(map(str, sweep.seeds))}"
        for block, sweep in sweeps.items()
    )
    return DitbenchError(
        f"these blocks were not tuned alike: {listed}", hint.format(",".join(sweeps))
    )


def _check_complete(block: str, sweep: Sweep, hint: str) -> None:
    if sweep.missing:
        rate, seed = sweep.missing[0]
        total = len(sweep.rates) * len(sweep.seeds)
        rates, seeds = (",".join(map(str, each)) for each in (sweep.rates, sweep.seeds))
        raise DitbenchError(
            f"the sweep of {block} is not finished: {len(sweep.missing)} of {total} runs are "
            f"missing, the first has --lr {rate:g}, seed {seed}",
            hint.format(f"{block} --lr {rates} --seeds {seeds},"),
        )
    if sweep.best is None:
        raise DitbenchError(
            f"{block} diverged at every learning rate of its sweep, from {sweep.rates[0]:g} to "
            f"{sweep.rates[-1]:g}",
            "try lower ones: " + hint.format(block),
            EXIT_FAILED,
        )
