"""Blocks by name or location: ditbench's own, installed ones, and classes in files and modules.

Torch-free until a class is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ditbench.errors import EXIT_USAGE, DitbenchError, unknown_name
from ditbench.models import registry
from ditbench.models.registry import block_names, group_names, is_directory_name, is_own
from ditbench.models.sizes import ModelSize
from ditbench.plugins.external import ExternalBlock, is_location, parse_location
from ditbench.plugins.user_traceback import user_traceback

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint  # slow to import

    from ditbench.models.blocks.base import Block

GROUP = "ditbench.blocks"  # the group of the entry points that name blocks in installed packages
# External blocks that were looked up, by name: later calls pass the name without the location.
_EXTERNAL: dict[str, ExternalBlock] = {}


def expand_all(names: Iterable[str]) -> list[str]:
    """The blocks of several names, groups and locations, each once; nothing is imported.

    The name of a block that is given by its location, `./my_block.py:MyBlock`, is `MyBlock`. Errors
    are those of `check_block`, or two locations have classes of the same name.
    """
    found: dict[str, str] = {}
    for name in names:
        for block in block_names(name) if name in group_names() else [check_block(name)]:
            location = _EXTERNAL[block].defined_at if is_location(name) else ""
            if found.setdefault(block, location) != location:
                what = f"two blocks are called {block}: {found[block] or block} and {location}"
                raise DitbenchError(what, "rename one class, or run them one after the other")
    return list(found)


def check_block(name: str) -> str:
    """The name of a block that is given by name or location; its module is not imported. Raises a
    DitbenchError if it is unknown, has the name of one of ditbench's own, or cannot be used.
    """
    if is_location(name):
        location = parse_location(name)
        class_name = location.rpartition(":")[2]
        if is_own(class_name):
            message = f"{name}: ditbench has a block or group called '{class_name}'"
            raise DitbenchError(message, "rename the class")
        _EXTERNAL[class_name] = ExternalBlock(class_name, location)
        return class_name
    if name in group_names():
        hint = f"name one of it: {', '.join(block_names(name))}"
        raise DitbenchError(f"'{name}' is a group of blocks, not a block", hint)
    if name in block_names():
        if not is_own(name):
            block = registry.block_class(name)
            # A notebook cell that is run twice makes another class.
            if name not in _EXTERNAL or _EXTERNAL[name].block is not block:
                location = f"{block.__module__}:{block.__qualname__}"
                _EXTERNAL[name] = ExternalBlock(name, location, block)
    elif name not in _EXTERNAL:
        if name not in installed():
            raise unknown_name("block", name, [*block_names(), *group_names(), *installed()])
        _EXTERNAL[name] = ExternalBlock(name, _installed_location(name))
    return name


def find_block(name: str) -> type[Block]:
    """The class of a block; a DitbenchError if it is unknown or cannot be loaded."""
    external = external_block(name)
    return registry.block_class(name) if external is None else external.block


def external_block(name: str) -> ExternalBlock | None:
    """A block that is not ditbench's own, or None; see `check_block` for errors."""
    return _EXTERNAL.get(check_block(name))


def restore_block(
    name: str, location: str | None, sha256: str | None, copy: Path, *, trust: bool
) -> None:
    """Look up the block of a recorded run, whose directory has a copy of its source.

    Without `trust` this is the file that was trained: someone else may have made the run directory,
    and what lies in it. With `trust` it is the copy. Raises a DitbenchError if it is gone or has
    changed.
    """
    if location is None or sha256 is None:  # ditbench's own
        return
    hint = f"{copy} is a copy of what it was: read it, then pass --trust to execute it"
    container, _, class_name = location.rpartition(":")
    try:
        if trust:
            hint = "copy the run directory again from where it was made"
            location = parse_location(f"{copy}:{class_name}")
        elif parse_location(location) != location:  # relative to some working directory
            raise DitbenchError(f"{location} is not an absolute path")
        elif "/" in container and copy.parent.resolve() in Path(container).resolve().parents:
            raise DitbenchError(f"{location} lies in the run directory")
        block = ExternalBlock(name, location)
        now = block.sha256
    except DitbenchError as error:
        raise DitbenchError(f"the code of {name} is gone: {error.message}", hint) from error
    if now != sha256:
        changed = f"its SHA-256 was {sha256[:8]} and is {now[:8]}"
        raise DitbenchError(f"{location} has changed: {changed}", hint)
    _EXTERNAL[name] = block


def block_errors(name: str, exit_code: int = EXIT_USAGE) -> AbstractContextManager[None]:
    """A context manager that turns exceptions of an external block into a `BlockError`.

    Exceptions of ditbench's own blocks are bugs in ditbench and pass unchanged.
    """
    external = external_block(name)
    if external is None:
        return nullcontext()
    hint = f"`ditbench blocks check {external.defined_at}` looks for more"
    return user_traceback(external.name, external.file, hint, exit_code)


def block_options(name: str, size: ModelSize, given: Mapping[str, int]) -> dict[str, int]:
    """All options of a block: the given ones that it has, and its defaults for the others. Raises a
    DitbenchError for a default that is not a whole number above 0.
    """
    block = find_block(name)
    with block_errors(name):
        defaults = dict(block.options(size))
    for option, value in defaults.items():
        if not isinstance(value, int) or value < 1:
            what = f"{name}: the default of option '{option}' is {value!r}"
            raise DitbenchError(what, "options(cls, size) returns names and whole numbers above 0")
    return {option: given.get(option, value) for option, value in defaults.items()}


def check_options(blocks: Iterable[str], size: ModelSize, given: Iterable[str]) -> None:
    """Refuse an option that none of the blocks has."""
    names = list(dict.fromkeys(blocks))
    known = [option for block in names for option in block_options(block, size, {})]
    for name in given:
        if name in known:
            continue
        having = [block for block in block_names() if name in block_options(block, size, {})]
        if known and not having:
            raise unknown_name("option", name, known)
        what = f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} no option '{name}'"
        raise DitbenchError(what, f"leave it out: {', '.join(having) or 'no block'} has it")


def installed() -> dict[str, list[EntryPoint]]:
    """The entry points by name: more than one where several packages use the same name.

    Reading them imports nothing of those packages: a broken package breaks only its own blocks.
    """
    from importlib.metadata import entry_points  # slow: tens of milliseconds

    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        others = found.setdefault(point.name, [])
        if point.value not in [other.value for other in others]:  # a package may be found twice
            others.append(point)
    return found


def _installed_location(name: str) -> str:
    """The location of an installed block; a DitbenchError if it cannot be used. Imports nothing."""
    points = installed()[name]
    block = f"the block '{name}' of {_packages(points)}"
    if len(points) > 1:
        classes = " or ".join(point.value for point in points)
        raise DitbenchError(f"several packages have {block}", f"pass --block {classes}")
    if not is_directory_name(name):
        raise DitbenchError(f"{block} cannot name a directory", "use letters, digits and .-_")
    try:
        return parse_location(points[0].value)
    except DitbenchError as error:
        raise DitbenchError(f"{block} is broken: {error.message}", error.hint) from error


def package_of(location: str) -> str | None:
    """Name and version of the installed package whose entry point is a location, or None."""
    for points in installed().values():
        for point in points:
            if point.value == location and point.dist:
                return f"{point.dist.name} {point.dist.version}"
    return None


def shadowed() -> list[str]:
    """A warning for each installed block whose name ditbench itself uses."""
    return [
        f"the block '{name}' of {_packages(points)} is ignored: ditbench has a block or group of "
        "that name"
        for name, points in installed().items()
        if is_own(name)
    ]


def _packages(points: list[EntryPoint]) -> str:
    names = (f"package {each.dist.name}" if each.dist else "a package" for each in points)
    return " and ".join(names)
