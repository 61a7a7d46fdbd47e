"""Blocks of equal size: the width of each is chosen so that it matches adaLN-Zero."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ditbench.errors import unknown_name
from ditbench.models.sizes import TOLERANCE, ModelSize, match_width
from ditbench.runs.plan import Task, count_cost, resolve

if TYPE_CHECKING:
    from ditbench.config import RunConfig

# The block of the paper, always the same one: the width of a block does not depend on which others
# a command names.
REFERENCE = "adaln-zero"
# What can be matched: the field of `Cost`, its scale and its name in a sentence.
MATCHED: Mapping[str, tuple[str, float, str]] = {
    "parameters": ("parameters", 1e-6, "M parameters"),
    "flops": ("gmacs", 1.0, " GMACs"),
}


@dataclass(frozen=True)
class Match:
    """How near a block has come to the reference, and by which width."""

    block: str
    by: str
    before: ModelSize
    after: ModelSize
    amount: float  # of the block, in the unit of the sentence
    target: float  # of the reference

    @property
    def error(self) -> float:
        """The amount beside the target: 0.02 is 2% above it."""
        return self.amount / self.target - 1

    @property
    def sentence(self) -> str:
        """`in-context: 384 -> 468 wide, 6 heads: 32.0M of 32.5M parameters, -1.6%`."""
        old, new = self.before, self.after
        change = f"stays {old.hidden_size} wide"
        if new != old:
            change = f"{old.hidden_size} -> {new.hidden_size} wide, {new.num_heads} heads"
        unit = MATCHED[self.by][2]
        near = f"{self.amount:#.3g} of {self.target:#.3g}{unit}, {self.error:+.1%}"
        far = f", which is not within {TOLERANCE:.0%}" if abs(self.error) > TOLERANCE else ""
        return f"{self.block}: {change}: {near}{far}"

    @property
    def note(self) -> dict[str, Any]:
        """What env.json records."""
        return {
            "by": self.by,
            "to": REFERENCE,
            "from_model": self.before.name,
            "relative_difference": self.error,
        }


def match_sizes(
    configs: Sequence[RunConfig],
    tasks: Sequence[Task],
    by: str | None,
    say: Callable[[str], None],
) -> tuple[list[Task], dict[str, dict[str, Any]]]:
    """The tasks with widths at which an amount, one of `MATCHED`, is that of `REFERENCE`.

    With None they are unchanged. Depth and patch size stay. Options of a block whose defaults
    depend on the width follow it: so `configs` are those that `resolve_all` made `tasks` of. They
    may differ in block, seed and learning rate. `say` announces the width of each block; also
    returned are, by block, the entries of env.json that record it.

    Raises:
        DitbenchError: an unknown `by`, or a model that cannot be built.
    """
    if by is None:
        return list(tasks), {}
    if by not in MATCHED:
        raise unknown_name("amount to match", by, MATCHED)
    matches: dict[str, Match] = {}
    matched = []
    for config, task in zip(configs, tasks, strict=True):
        block = task.config.block
        if block not in matches:
            matches[block] = _match(config, task, by)
        matched.append(_at_size(config, task, matches[block].after))
    matches.pop(REFERENCE, None)
    for match in matches.values():
        say(match.sentence)
    return matched, {block: {"match": match.note} for block, match in matches.items()}


def _match(config: RunConfig, task: Task, by: str) -> Match:
    size, block = config.model.size, task.config.block
    target = _amount(config.with_values(block=REFERENCE), task, size, by)
    found = size
    if block != REFERENCE:
        found = match_width(size, lambda tried: _amount(config, task, tried, by), target)
    return Match(block, by, size, found, _amount(config, task, found, by), target)


def _amount(config: RunConfig, task: Task, size: ModelSize, by: str) -> float:
    field, scale, _ = MATCHED[by]
    return float(getattr(count_cost(_at_size(config, task, size)), field)) * scale


def _at_size(config: RunConfig, task: Task, size: ModelSize) -> Task:
    """The task of a configuration with another model size."""
    sized = config.with_values(**{f"model__{name}": value for name, value in vars(size).items()})
    return resolve(sized, task.dataset, task.device)
