"""Conditioning blocks and groups of blocks by name.

Torch-free: the module of a block is imported when `block_class` asks for its class. Blocks in files
and installed packages are found by `ditbench.plugins.lookup`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from ditbench.errors import unknown_name

if TYPE_CHECKING:
    from ditbench.models.blocks.base import Block

B = TypeVar("B", bound="Block")

# Prefix of the names of modules made from files: see `ditbench.plugins.external`.
FILE_MODULE = "ditbench_block_"

_LOCATIONS: dict[str, str] = {}
_GROUPS: dict[str, list[str]] = {"all": []}
# Classes registered by `strategy`: one defined in a notebook or a function cannot be imported.
_DECORATED: dict[str, type[Block]] = {}


def register(name: str, location: str, *groups: str) -> None:
    """Register the class at `module:Class` as a block and member of groups; no name twice."""
    if name in _LOCATIONS:
        raise ValueError(f"the block name '{name}' is taken by {_LOCATIONS[name]}")
    if name in _GROUPS or any(group in _LOCATIONS or group == name for group in groups):
        raise ValueError(f"a block and a group have the same name: {name}, {', '.join(groups)}")
    _LOCATIONS[name] = location
    for group in ("all", *groups):
        _GROUPS.setdefault(group, []).append(name)


def strategy(name: str, *groups: str) -> Callable[[type[B]], type[B]]:
    """Register the decorated class as a block in this process: `@ditbench.strategy("mine")`.

    Decorating a class again, as when a notebook cell is run twice, replaces it. In a file that is
    given as `--block FILE.py:CLASS` the decorator has no effect: the class names the block.

    The name (letters, digits and `.-_`) is part of the path of run directories; a ValueError if it
    is taken or cannot name a directory. The block joins new or existing groups besides `all`.
    """
    if not is_directory_name(name):
        raise ValueError(f"the block name {name!r} cannot name a directory")

    def decorate(block: type[B]) -> type[B]:
        if not block.__module__.startswith(FILE_MODULE):
            location = f"{block.__module__}:{block.__qualname__}"
            if _LOCATIONS.get(name) != location:
                register(name, location, *groups)
            _DECORATED[name] = block
        return block

    return decorate


def is_directory_name(name: str) -> bool:
    """Whether a name can be that of a directory: printable, without separators or a leading dot."""
    return name.isprintable() and re.fullmatch(r"\w[\w.-]*", name) is not None


def block_names(group: str = "all") -> list[str]:
    """The blocks of a group in the order of registration: the four of the DiT paper come first."""
    return list(_GROUPS[group])


def group_names() -> list[str]:
    """The groups; `all` comes first."""
    return list(_GROUPS)


def is_own(name: str) -> bool:
    """Whether a name is that of a group or of one of ditbench's own blocks."""
    return name in _GROUPS or _LOCATIONS.get(name, "").startswith("ditbench.")


def block_class(name: str) -> type[Block]:
    """Import the class of a registered block; a DitbenchError for an unknown name."""
    if name in _DECORATED:
        return _DECORATED[name]
    if name not in _LOCATIONS:
        raise unknown_name("block", name, _LOCATIONS)
    module, _, attribute = _LOCATIONS[name].partition(":")
    block: type[Block] = getattr(import_module(module), attribute)
    return block


# `paper`: the four blocks of Peebles & Xie 2022. `ablation`: gates and zero initialization, each
# with and without the other. `controls`: blocks that do not receive all of the conditioning.
_BLOCKS = "ditbench.models.blocks"
register("in-context", f"{_BLOCKS}.in_context:InContextBlock", "paper")
register("cross-attention", f"{_BLOCKS}.cross_attention:CrossAttentionBlock", "paper")
register("adaln", f"{_BLOCKS}.adaln:AdaLNBlock", "paper", "ablation")
register("adaln-zero", f"{_BLOCKS}.adaln_zero:AdaLNZeroBlock", "paper", "ablation")
register("adaln-gate", f"{_BLOCKS}.adaln_gate:AdaLNGateBlock", "ablation")
register("adaln-zero-init", f"{_BLOCKS}.adaln_zero_init:AdaLNZeroInitBlock", "ablation")
register("u-vit", f"{_BLOCKS}.u_vit:UViTBlock")
register("adaln-single", f"{_BLOCKS}.adaln_single:AdaLNSingleBlock")
register("joint", f"{_BLOCKS}.joint:JointBlock")
register("adaln-lora", f"{_BLOCKS}.adaln_lora:AdaLNLoRABlock")
register("adaln-shared", f"{_BLOCKS}.adaln_shared:AdaLNSharedBlock")
register("adaln-tanh", f"{_BLOCKS}.adaln_tanh:AdaLNTanhBlock")
register("ada-rms", f"{_BLOCKS}.ada_rms:AdaRMSBlock")
register("in-context-class", f"{_BLOCKS}.in_context_class:InContextClassBlock")
register("in-context-multi", f"{_BLOCKS}.in_context_multi:InContextMultiBlock")
register("hybrid", f"{_BLOCKS}.hybrid:HybridBlock")
register("rotation", f"{_BLOCKS}.rotation:RotationBlock")
register("time-qkv", f"{_BLOCKS}.time_qkv:TimeQKVBlock")
register("shift-skip", f"{_BLOCKS}.shift_skip:ShiftSkipBlock")
register("no-time", f"{_BLOCKS}.no_time:NoTimeBlock", "controls")
register("none", f"{_BLOCKS}.unconditional:UnconditionalBlock", "controls")
