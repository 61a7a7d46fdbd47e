"""Blocks of equal size: the width of each is chosen so that it matches adaLN-Zero."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ditbench.config import RunConfig
from ditbench.errors import unknown_name
from ditbench.models.sizes import TOLERANCE, ModelSize, match_width
from ditbench.runs.planning.plan import count_cost, resolve
from ditbench.runs.planning.task import Task

# The block of the paper, always the same one: the width of a block does not depend on which others
# a command names.
REFERENCE = "adaln-zero"
# What can be matched: the field of `Cost`, its scale and its name in a sentence.
MATCHED: Mapping[str, tuple[str, float, str]] = {
    "parameters": ("parameters", 1e-6, "M parameters"),
    "flops": ("gmacs", 1.0, " GMACs"),
}


def match_sizes(
    configs: Sequence[RunConfig], tasks: Sequence[Task], by: str | None, say: Callable[[str], None]
) -> tuple[list[Task], dict[str, dict[str, Any]]]:
    """The tasks with widths at which an amount, one of `MATCHED`, is that of `REFERENCE`.

    With None they are unchanged. Depth and patch size stay. Options of a block whose defaults
    depend on the width follow it: so `configs` are those that `resolve_all` made `tasks` of. They
    may differ in block, seed and learning rate. `say` announces the width of each block; also
    returned are, by block, the entries of env.json that record it. Raises a DitbenchError for an
    unknown `by`.
    """
    if by is None:
        return list(tasks), {}
    if by not in MATCHED:
        raise unknown_name("amount to match", by, MATCHED)
    widths: dict[str, tuple[ModelSize, dict[str, Any]]] = {}
    for config, task in zip(configs, tasks, strict=True):
        if task.config.block not in widths:
            widths[task.config.block] = _match(config, task, by, say)
    matched = [
        _at_size(config, task, widths[task.config.block][0])
        for config, task in zip(configs, tasks, strict=True)
    ]
    notes = {block: {"match": note} for block, (_, note) in widths.items() if block != REFERENCE}
    return matched, notes


def _match(
    config: RunConfig, task: Task, by: str, say: Callable[[str], None]
) -> tuple[ModelSize, dict[str, Any]]:
    """The size of a block at which it comes nearest to the reference, and what env.json records."""
    size, block = config.model.size, task.config.block
    if block == REFERENCE:
        return size, {}
    target = _amount(config.with_values(block=REFERENCE), task, size, by)
    found = match_width(size, lambda tried: _amount(config, task, tried, by), target)
    amount = _amount(config, task, found, by)
    error = amount / target - 1
    change = f"stays {size.hidden_size} wide"
    if found != size:
        change = f"{size.hidden_size} -> {found.hidden_size} wide, {found.num_heads} heads"
    near = f"{amount:#.3g} of {target:#.3g}{MATCHED[by][2]}, {error:+.1%}"
    far = f", which is not within {TOLERANCE:.0%}" if abs(error) > TOLERANCE else ""
    say(f"{block}: {change}: {near}{far}")
    note = {"by": by, "to": REFERENCE, "from_model": size.name, "relative_difference": error}
    return found, note


def _amount(config: RunConfig, task: Task, size: ModelSize, by: str) -> float:
    field, scale, _ = MATCHED[by]
    return float(getattr(count_cost(_at_size(config, task, size)), field)) * scale


def _at_size(config: RunConfig, task: Task, size: ModelSize) -> Task:
    """The task of a configuration with another model size."""
    sized = config.with_values(**{f"model__{name}": value for name, value in vars(size).items()})
    return resolve(sized, task.dataset, task.device)
