"""Options of blocks: numbers such as a rank, with defaults stated by each block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ditbench.errors import DitbenchError, unknown_name
from ditbench.plugins.lookup import block_errors, find_block

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ditbench.models.sizes import ModelSize


def own_options(block: str, size: ModelSize, given: Mapping[str, int]) -> dict[str, int]:
    """All options of a block: the given ones that it has, and its defaults for the others."""
    return {name: given.get(name, value) for name, value in _defaults(block, size).items()}


def check_options(blocks: Iterable[str], size: ModelSize, given: Iterable[str]) -> None:
    """Refuse an option that none of the blocks has.

    Raises:
        DitbenchError: for the first such option; the hint offers the nearest names.
    """
    names = list(dict.fromkeys(blocks))
    known = [option for block in names for option in _defaults(block, size)]
    for name in given:
        if name not in known:
            if known:
                raise unknown_name("option", name, known)
            raise DitbenchError(
                f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} no option '{name}'",
                "leave it out, or choose a block that has it: docs/strategies.md",
            )


def _defaults(block: str, size: ModelSize) -> dict[str, int]:
    """The options that a block states.

    Raises:
        DitbenchError: a default that is not a whole number above 0.
    """
    block_class = find_block(block)
    with block_errors(block):
        defaults = dict(block_class.options(size))
    for name, value in defaults.items():
        if not isinstance(value, int) or value < 1:
            raise DitbenchError(
                f"{block}: the default of option '{name}' is {value!r}",
                "options(cls, size) returns names and whole numbers above 0",
            )
    return defaults
