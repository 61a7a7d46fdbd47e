"""The conditioning strategies by name. Torch-free: a strategy is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from ditbench.errors import DitbenchError, unknown_name
from ditbench.models.blocks.installed import installed, is_folder_name, packages, place_of
from ditbench.models.blocks.outside import EXECUTED, Outside, Place, is_place, parse_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ditbench.models.blocks.base import Block

B = TypeVar("B", bound="Block")

# Of all strategies that are registered.
ALL = "all"

_LOCATIONS: dict[str, str] = {}
_GROUPS: dict[str, list[str]] = {ALL: []}
# Those that are not ditbench's own, once they were asked for.
_OUTSIDE: dict[str, Outside] = {}
# How the locations of ditbench's own begin.
_OWN = "ditbench."


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


def strategy(name: str, *groups: str) -> Callable[[type[B]], type[B]]:
    """Register the class below it as a strategy of this process: `@ditbench.strategy("mine")`.

    The same class again, as of a notebook's cell that is run twice, takes its own place. In a file
    that is named by its place it does nothing: there the class's name counts.

    Args:
        name: letters, digits and `.-_`; it names directories.
        groups: that it is a member of, new ones too; of `all` it is one anyway.

    Raises:
        ValueError: for a name that is taken or names no directory.
    """
    if not is_folder_name(name):
        raise ValueError(f"the block name {name!r} cannot name a directory")

    def decorate(block: type[B]) -> type[B]:
        if block.__module__.startswith(EXECUTED):
            return block
        location = f"{block.__module__}:{block.__qualname__}"
        if _LOCATIONS.get(name) != location:
            register(name, location, *groups)
        _OUTSIDE[name] = Outside(name, Place(block.__module__, block.__qualname__), block)
        return block

    return decorate


def block_names(group: str = ALL) -> list[str]:
    """The strategies of a group, in the order of registration: the DiT paper's four first."""
    return list(_GROUPS[group])


def group_names() -> list[str]:
    """The groups, `all` first."""
    return list(_GROUPS)


def expand(name: str) -> list[str]:
    """The strategies of a group, or the one of that name or at that place.

    A place is `./my_block.py:MyBlock` or `package.module:MyBlock`; nothing is imported, and the
    strategy is called `MyBlock` from here on.

    Raises:
        DitbenchError: for a name of neither, or a place where nothing can be.
    """
    if is_place(name):
        return [_at(name).name]
    if name in _GROUPS:
        return block_names(name)
    if name not in _LOCATIONS and name not in installed():
        raise unknown_name("block", name, [*_LOCATIONS, *_GROUPS, *installed()])
    return [name]


def expand_all(names: Iterable[str]) -> list[str]:
    """The strategies of several names, groups and places, each once.

    Raises:
        DitbenchError: as `expand`, and for two places whose classes have one name.
    """
    found: dict[str, str] = {}
    for name in names:
        for block in expand(name):
            place = str(_OUTSIDE[block].place) if is_place(name) else ""
            if found.setdefault(block, place) != place:
                raise DitbenchError(
                    f"two strategies are called {block}: {found[block] or block} and {place}",
                    "rename one class, or run them one after the other: compare tells them apart",
                )
    return list(found)


def check_block(name: str) -> str:
    """The name of a strategy, that at a place included.

    Raises:
        DitbenchError: unknown; it offers the nearest names.
    """
    if is_place(name):
        return _at(name).name
    if name not in _LOCATIONS and name not in _OUTSIDE and name not in installed():
        raise unknown_name("block", name, [*_LOCATIONS, *installed()])
    return name


def block_class(name: str) -> type[Block]:
    """Import the strategy of that name; a DitbenchError where it is unknown or no strategy."""
    name = check_block(name)
    theirs = outside(name)
    if theirs is not None:
        return theirs.block
    module, _, attribute = _LOCATIONS[name].partition(":")
    block: type[Block] = getattr(import_module(module), attribute)
    return block


def outside(name: str) -> Outside | None:
    """What is known of a strategy that is not ditbench's own; None of one that is."""
    name = check_block(name)
    if name not in _OUTSIDE:
        if name not in _LOCATIONS:
            _OUTSIDE[name] = Outside(name, place_of(name))
        elif not _LOCATIONS[name].startswith(_OWN):
            _OUTSIDE[name] = Outside(name, Place(*_LOCATIONS[name].split(":")))
    return _OUTSIDE.get(name)


def recall(name: str, location: str, sha256: str, copy: str) -> None:
    """Make the strategy of a recorded run known again, as it was.

    Args:
        name: as recorded.
        location: where it was.
        sha256: of its file then.
        copy: where its source is kept.

    Raises:
        DitbenchError: it is gone, or has changed.
    """
    hint = f"{copy} is a copy of what it was: put it back there"
    try:
        place = parse_place(location)
        if str(place) != location:  # not from wherever this process happens to be
            raise DitbenchError(f"{location} is not an absolute path")
        theirs = Outside(name, place)
        now = theirs.sha256
    except DitbenchError as error:
        raise DitbenchError(f"the code of {name} is gone: {error.message}", hint) from error
    if now != sha256:
        raise DitbenchError(
            f"{location} has changed since: its SHA-256 was {sha256[:8]}, and is {now[:8]}", hint
        )
    _OUTSIDE[name] = theirs


def shadowed() -> list[str]:
    """What to say of installed strategies that cannot be asked for, a line each."""
    return [
        f"the strategy '{name}' of {packages(points)} is left out: ditbench has one of that name"
        for name, points in installed().items()
        if name in _GROUPS or _LOCATIONS.get(name, "").startswith(_OWN)
    ]


def _at(text: str) -> Outside:
    """The strategy at a place, from here on known by the name of its class."""
    place = parse_place(text)
    name = place.attribute
    if name in _GROUPS or _LOCATIONS.get(name, "").startswith(_OWN):
        raise DitbenchError(
            f"{text}: ditbench has a strategy or group called '{name}'", "rename the class"
        )
    _OUTSIDE[name] = Outside(name, place)
    return _OUTSIDE[name]


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
