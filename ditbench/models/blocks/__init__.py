"""The conditioning strategies by name. Torch-free: a strategy is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ditbench.errors import unknown_name

if TYPE_CHECKING:
    from ditbench.models.blocks.base import Block

_LOCATIONS: dict[str, str] = {}


def register(name: str, location: str) -> None:
    """Make the class at `module:Class` known as a strategy.

    Raises:
        ValueError: when the name is taken.
    """
    if name in _LOCATIONS:
        raise ValueError(f"the block name '{name}' is taken by {_LOCATIONS[name]}")
    _LOCATIONS[name] = location


def block_names() -> list[str]:
    """The known strategies, in the order of the paper."""
    return list(_LOCATIONS)


def check_block(name: str) -> str:
    """The name itself, if it is known; a DitbenchError that offers the nearest names otherwise."""
    if name not in _LOCATIONS:
        raise unknown_name("block", name, _LOCATIONS)
    return name


def block_class(name: str) -> type[Block]:
    """Import the strategy of that name; an unknown name is a DitbenchError."""
    module, _, attribute = _LOCATIONS[check_block(name)].partition(":")
    block: type[Block] = getattr(import_module(module), attribute)
    return block


register("in-context", "ditbench.models.blocks.in_context:InContextBlock")
register("cross-attention", "ditbench.models.blocks.cross_attention:CrossAttentionBlock")
register("adaln", "ditbench.models.blocks.adaln:AdaLNBlock")
register("adaln-zero", "ditbench.models.blocks.adaln_zero:AdaLNZeroBlock")
