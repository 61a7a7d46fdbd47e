"""The conditioning strategies by name. Torch-free: a strategy is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ditbench.errors import unknown_name

if TYPE_CHECKING:
    from ditbench.models.blocks.base import Block

# Of all strategies that are registered.
ALL = "all"

_LOCATIONS: dict[str, str] = {}
_GROUPS: dict[str, list[str]] = {ALL: []}


def register(name: str, location: str, *groups: str) -> None:
    """Make the class at `module:Class` known as a strategy, and a member of groups of strategies.

    Raises:
        ValueError: when the name is taken, or a group has it.
    """
    if name in _LOCATIONS:
        raise ValueError(f"the block name '{name}' is taken by {_LOCATIONS[name]}")
    if name in _GROUPS or any(group in _LOCATIONS or group == name for group in groups):
        raise ValueError(f"a block and a group have one name: {name}, {', '.join(groups)}")
    _LOCATIONS[name] = location
    for group in (ALL, *groups):
        _GROUPS.setdefault(group, []).append(name)


def block_names(group: str = ALL) -> list[str]:
    """The strategies of a group, in the order of registration: the DiT paper's four first."""
    return list(_GROUPS[group])


def group_names() -> list[str]:
    """The groups, `all` first."""
    return list(_GROUPS)


def expand(name: str) -> list[str]:
    """The strategies of a group, or the one of that name; a DitbenchError for a name of neither."""
    if name not in {*_GROUPS, *_LOCATIONS}:
        raise unknown_name("block", name, [*_LOCATIONS, *_GROUPS])
    return block_names(name) if name in _GROUPS else [name]


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


# `paper`: the four of Peebles & Xie 2022. `ablation`: gate or not by zero initialisation or not.
# `controls`: strategies that are not told everything.
_HERE = "ditbench.models.blocks"
register("in-context", f"{_HERE}.in_context:InContextBlock", "paper")
register("cross-attention", f"{_HERE}.cross_attention:CrossAttentionBlock", "paper")
register("adaln", f"{_HERE}.adaln:AdaLNBlock", "paper", "ablation")
register("adaln-zero", f"{_HERE}.adaln_zero:AdaLNZeroBlock", "paper", "ablation")
register("adaln-gate", f"{_HERE}.adaln_gate:AdaLNGateBlock", "ablation")
register("adaln-zero-init", f"{_HERE}.adaln_zero_init:AdaLNZeroInitBlock", "ablation")
register("u-vit", f"{_HERE}.u_vit:UViTBlock")
register("adaln-single", f"{_HERE}.adaln_single:AdaLNSingleBlock")
register("joint", f"{_HERE}.joint:JointBlock")
register("adaln-lora", f"{_HERE}.adaln_lora:AdaLNLoRABlock")
register("in-context-class", f"{_HERE}.in_context_class:InContextClassBlock")
register("hybrid", f"{_HERE}.hybrid:HybridBlock")
register("no-time", f"{_HERE}.no_time:NoTimeBlock", "controls")
register("none", f"{_HERE}.unconditional:UnconditionalBlock", "controls")
