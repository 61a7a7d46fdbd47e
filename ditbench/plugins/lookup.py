"""Blocks by name or location: ditbench's own, installed ones, and classes in files and modules.

Torch-free until a class is asked for.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from ditbench.errors import EXIT_USAGE, DitbenchError, unknown_name
from ditbench.models import registry
from ditbench.models.registry import block_names, group_names, is_own
from ditbench.plugins.external import ExternalBlock, Location, is_location, parse_location
from ditbench.plugins.installed import installed, installed_location
from ditbench.plugins.user_traceback import user_traceback

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from ditbench.models.blocks.base import Block

# External blocks by name, once they were looked up: configurations name a block without location.
_EXTERNAL: dict[str, ExternalBlock] = {}


def expand_all(names: Iterable[str]) -> list[str]:
    """The blocks of several names, groups and locations, each once; nothing is imported.

    A block given by its location, `./my_block.py:MyBlock`, is called `MyBlock` from then on.

    Raises:
        DitbenchError: an unknown name, a location where there is no file, or two locations with
            classes of the same name.
    """
    found: dict[str, str] = {}
    for name in names:
        for block in block_names(name) if name in group_names() else [check_block(name)]:
            location = str(_EXTERNAL[block].defined_at) if is_location(name) else ""
            if found.setdefault(block, location) != location:
                raise DitbenchError(
                    f"two blocks are called {block}: {found[block] or block} and {location}",
                    "rename one class, or run them one after the other",
                )
    return list(found)


def check_block(name: str) -> str:
    """The name of a block that is given by name or location.

    Raises:
        DitbenchError: an unknown name, or a location where there is no file.
    """
    if is_location(name):
        return _from_location(name).name
    if registry.location_of(name) or name in _EXTERNAL or name in installed():
        return name
    raise unknown_name("block", name, [*block_names(), *group_names(), *installed()])


def find_block(name: str) -> type[Block]:
    """The class of a block.

    Raises:
        DitbenchError: an unknown name, or an external block that cannot be loaded.
    """
    name = check_block(name)
    external = external_block(name)
    return registry.block_class(name) if external is None else external.block


def external_block(name: str) -> ExternalBlock | None:
    """A block that is not ditbench's own; None if it is.

    Raises:
        DitbenchError: an unknown name, or one that an installed package cannot have.
    """
    name = check_block(name)
    if is_own(name):
        return None
    registered = registry.location_of(name)
    if registered is not None:
        block = registry.block_class(name)
        if name not in _EXTERNAL or _EXTERNAL[name].block is not block:  # a notebook cell run twice
            _EXTERNAL[name] = ExternalBlock(name, Location(*registered.split(":")), block)
    if name not in _EXTERNAL:
        _EXTERNAL[name] = ExternalBlock(name, installed_location(name))
    return _EXTERNAL[name]


def restore_block(name: str, location: str, sha256: str, copy: str) -> None:
    """Look up the block of a recorded run, as it was.

    Args:
        name: of the block.
        location: where its class was defined.
        sha256: of its file then.
        copy: the path of the copy that the run has of its source.

    Raises:
        DitbenchError: the file is gone or has changed.
    """
    hint = f"{copy} is a copy of what it was: put it back there"
    try:
        parsed = parse_location(location)
        if str(parsed) != location:  # a relative path would depend on the working directory
            raise DitbenchError(f"{location} is not an absolute path")
        block = ExternalBlock(name, parsed)
        now = block.sha256
    except DitbenchError as error:
        raise DitbenchError(f"the code of {name} is gone: {error.message}", hint) from error
    if now != sha256:
        message = f"{location} has changed: its SHA-256 was {sha256[:8]} and is {now[:8]}"
        raise DitbenchError(message, hint)
    _EXTERNAL[name] = block


def block_errors(name: str, exit_code: int = EXIT_USAGE) -> AbstractContextManager[None]:
    """Within it, exceptions of an external block are a `BlockError`.

    Those of ditbench's own blocks are faults of ditbench, and pass.

    Args:
        name: of the block.
        exit_code: of the error.
    """
    external = external_block(name)
    if external is None:
        return nullcontext()
    hint = f"`ditbench blocks check {external.defined_at}` looks for more"
    return user_traceback(external.name, external.file, hint, exit_code)


def _from_location(text: str) -> ExternalBlock:
    location = parse_location(text)
    name = location.attribute
    if is_own(name):
        message = f"{text}: ditbench has a block or group called '{name}'"
        raise DitbenchError(message, "rename the class")
    _EXTERNAL[name] = ExternalBlock(name, location)
    return _EXTERNAL[name]
