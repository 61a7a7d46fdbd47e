"""The options of strategies: each states its own and their defaults. Importing it is cheap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ditbench.errors import DitbenchError, unknown_name
from ditbench.models.blocks import block_class
from ditbench.models.blocks.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ditbench.models.sizes import ModelSize


def own_options(block: str, size: ModelSize, given: Mapping[str, int]) -> dict[str, int]:
    """All options of a strategy: those of `given` that it has, and its defaults for the others."""
    return {name: given.get(name, default) for name, default in _stated(block, size).items()}


def check_options(blocks: Iterable[str], size: ModelSize, given: Iterable[str]) -> None:
    """Refuse an option that none of some strategies has.

    Raises:
        DitbenchError: for the first; it offers the nearest names.
    """
    names = list(dict.fromkeys(blocks))
    known = [name for block in names for name in _stated(block, size)]
    for name in given:
        if name not in known:
            if known:
                raise unknown_name("option", name, known)
            raise DitbenchError(
                f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} no option '{name}'",
                "leave it out, or choose a strategy that has it: docs/strategies.md",
            )


def _stated(block: str, size: ModelSize) -> dict[str, int]:
    """What a strategy says of its options.

    Raises:
        DitbenchError: a default that can be none.
    """
    strategy = block_class(block)
    with guarded(block):
        stated = dict(strategy.options(size))
    for name, value in stated.items():
        if not isinstance(value, int) or value < 1:
            raise DitbenchError(
                f"{block}: the option '{name}' is {value!r}, not a whole number above 0",
                "options(cls, size) returns names and their defaults",
            )
    return stated
