"""Strategies that are not ditbench's own: a class in a file or module. Torch-free until loaded."""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from keyword import iskeyword
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from ditbench.errors import DitbenchError, unknown_name
from ditbench.models.blocks.blame import naming_the_line

if TYPE_CHECKING:
    from typing import Any

    from ditbench.models.blocks.base import Block

_AT_IMPORT = "mend that line: the code around a class is executed when its strategy is asked for"
# How modules are called that are the files of places.
EXECUTED = "ditbench_block_"
HOW_TO_NAME = "write ./my_block.py:MyBlock, or package.module:MyBlock"


@dataclass(frozen=True)
class Place:
    """Where the class of a strategy is written.

    Attributes:
        container: the absolute path of a Python file, or the name of a module.
        attribute: the name of the class there.
    """

    container: str
    attribute: str

    @property
    def is_file(self) -> bool:
        """Whether it is a file, not a module that Python finds by itself."""
        return is_path(self.container)

    def __str__(self) -> str:
        return f"{self.container}:{self.attribute}"


def is_path(text: str) -> bool:
    """Whether a text is the path of a Python file, not the name of a module."""
    return text.endswith(".py") or "/" in text or os.sep in text


def is_place(text: str) -> bool:
    """Whether a text says where a strategy is written, and is not the name of one."""
    return ":" in text or is_path(text)


def parse_place(text: str) -> Place:
    """Read `./my_block.py:MyBlock` or `package.module:MyBlock`; nothing is imported.

    Raises:
        DitbenchError: a text of neither form, or a file that is not there.
    """
    container, _, attribute = (part.strip() for part in text.rpartition(":"))
    if not attribute.isidentifier() or iskeyword(attribute) or not container:
        raise DitbenchError(f"'{text}' does not name a class in a file or module", HOW_TO_NAME)
    if is_path(container):
        path = Path(container)
        try:
            path = path.expanduser()
            what = (
                None if path.is_file() else "is not a file" if path.exists() else "does not exist"
            )
        except (OSError, RuntimeError) as error:  # a name too long, a home that is not known
            what = f"is not a file: {error}"
        if what is not None:
            raise DitbenchError(f"{path} {what}", f"check the path; {HOW_TO_NAME}")
        return Place(os.path.abspath(path), attribute)  # noqa: PTH100 (symbolic links stay)
    if not all(part.isidentifier() for part in container.split(".")):
        raise DitbenchError(f"'{container}' is no name of a module", HOW_TO_NAME)
    return Place(container, attribute)


class Outside:
    """A strategy from outside ditbench, imported when its class or its source is asked for.

    Args:
        name: what it is called in tables and directories.
        place: where its class is written.
        given: the class itself, if it is at hand.
    """

    def __init__(self, name: str, place: Place, given: type[Block] | None = None) -> None:
        self.name = name
        self.place = place
        self._given = given

    @cached_property
    def block(self) -> type[Block]:
        """Its class.

        Raises:
            DitbenchError: the file or module cannot be imported, or has no such class; one that is
                no `Block`, or has no `forward`.
        """
        found = self._given or getattr(self._module, self.place.attribute, None)
        if found is None:
            raise _no_such_class(self.place, _classes(self._module))
        return _checked(found, str(self.place))

    @cached_property
    def source(self) -> bytes:
        """The text of the file that its class is in, as it was imported.

        Raises:
            DitbenchError: there is none, or it cannot be read.
        """
        if self.place.is_file:
            try:
                return Path(self.place.container).read_bytes()
            except OSError as error:
                raise DitbenchError(
                    f"cannot read {self.place.container}: {error.strerror}", "check the path"
                ) from error
        if self.file is None or not Path(self.file).is_file():
            raise DitbenchError(
                f"{self.name} has no file that a run could record: {self.place}",
                "put the class into a file of its own: --block ./my_block.py:MyBlock",
            )
        return Path(self.file).read_bytes()

    @property
    def sha256(self) -> str:
        """Of `source`, 64 hex digits: what an edit changes."""
        return hashlib.sha256(self.source).hexdigest()

    @property
    def location(self) -> str:
        """Where its class is to be found by a later process."""
        if self.place.container == "__main__" and self.file:
            return str(Place(os.path.abspath(self.file), self.place.attribute))  # noqa: PTH100
        return str(self.place)

    @cached_property
    def file(self) -> str | None:
        """The path of the file, where there is one."""
        if self.place.is_file:
            return self.place.container
        return getattr(self._module, "__file__", None)

    @cached_property
    def _module(self) -> ModuleType:
        place = self.place
        if place.is_file:
            with naming_the_line(place.container, "while it was imported", _AT_IMPORT):
                return _execute(place.container, self.source)
        with naming_the_line(None, f"while {place.container} was imported", _AT_IMPORT):
            try:
                return import_module(place.container)
            except ModuleNotFoundError as error:
                if error.name is None or not f"{place.container}.".startswith(f"{error.name}."):
                    raise
                raise DitbenchError(
                    f"there is no module '{error.name}'", f"is it installed? Else {HOW_TO_NAME}"
                ) from error


def _execute(path: str, source: bytes) -> ModuleType:
    """The module of a file, executed once for each of its contents.

    The folder of the file is not searched for further modules: what determines a run is to be in
    the one file whose digest it records.
    """
    digest = hashlib.sha256(path.encode() + b"\0" + source).hexdigest()
    name = f"{EXECUTED}{digest[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = path
    code = compile(source, path, "exec", dont_inherit=True)
    sys.modules[name] = module  # before: dataclasses and torch's compiler look it up
    try:
        exec(code, vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _checked(found: Any, where: str) -> type[Block]:
    from ditbench.models.blocks.base import Block

    if not (inspect.isclass(found) and issubclass(found, Block)):
        raise DitbenchError(
            f"{where} is not a subclass of Block",
            "class MyBlock(Block), of ditbench.models.blocks.base: docs/your-own.md",
        )
    if found.forward is Block.forward:
        raise DitbenchError(f"{where} has no forward(self, x, told)", "docs/your-own.md")
    return found


def _no_such_class(place: Place, known: list[str]) -> DitbenchError:
    if known:
        return unknown_name(f"class in {place.container}:", place.attribute, known)
    return DitbenchError(
        f"{place.container} has no class {place.attribute}", "docs/your-own.md has a whole one"
    )


def _classes(module: ModuleType) -> list[str]:
    """The strategies that a module defines itself."""
    from ditbench.models.blocks.base import Block

    return [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, Block)
        and value.__module__ == module.__name__
    ]
