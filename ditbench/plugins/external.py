"""Blocks that are not ditbench's own: classes in files and modules, imported on demand.

A location says where such a class is: `/path/of/my_block.py:MyBlock` or `package.module:MyBlock`.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
from functools import cached_property
from importlib import import_module
from keyword import iskeyword
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from ditbench.errors import DitbenchError
from ditbench.files import check_utf8
from ditbench.models.registry import FILE_MODULE
from ditbench.plugins.user_traceback import user_traceback

if TYPE_CHECKING:
    from ditbench.models.blocks.base import Block

HOW_TO_NAME = "write ./my_block.py:MyBlock, or package.module:MyBlock"
_AT_IMPORT = "fix that line: loading a block runs the module that its class is in"
_EXAMPLE = "docs/your-own.md has a complete example"


def is_location(text: str) -> bool:
    """Whether a text is meant as a location and not as the name of a block."""
    return ":" in text or _is_file(text)


def _is_file(container: str) -> bool:
    return container.endswith(".py") or "/" in container


def parse_location(text: str) -> str:
    """A location as a user writes it, with an absolute path, or a DitbenchError. No import."""
    container, _, attribute = (part.strip() for part in text.rpartition(":"))
    if not attribute.isidentifier() or iskeyword(attribute) or not container:
        raise DitbenchError(f"'{text}' does not name a class in a file or module", HOW_TO_NAME)
    if _is_file(container):
        # os.path and not Path: symbolic links stay, and a name that is too long raises no error.
        path = os.path.abspath(os.path.expanduser(container))  # noqa: PTH100, PTH111
        if not os.path.isfile(path):  # noqa: PTH113
            raise DitbenchError(f"there is no file {container}", f"check the path; {HOW_TO_NAME}")
        check_utf8(path)
        return f"{path}:{attribute}"
    if not all(part.isidentifier() for part in container.split(".")):
        raise DitbenchError(f"'{container}' is not the name of a module", HOW_TO_NAME)
    return f"{container}:{attribute}"


class ExternalBlock:
    """A block that is not ditbench's own: its name in tables and directories, and where its class
    is defined; or the class itself, if `ditbench.strategy` registered it.
    """

    def __init__(self, name: str, defined_at: str, decorated: type[Block] | None = None) -> None:
        self.name = name
        self.defined_at = defined_at
        self._container, _, self._attribute = defined_at.rpartition(":")
        self._decorated = decorated

    @cached_property
    def block(self) -> type[Block]:
        """The class. Raises a BlockError if importing its file or module raised; a DitbenchError if
        there is no such class, or it is not a `Block` that defines `forward`.
        """
        from ditbench.models.blocks.base import Block

        found = self._decorated or getattr(self._module, self._attribute, None)
        if found is None:
            what = f"{self._container} has no class {self._attribute}"
            raise DitbenchError(what, self._blocks() or _EXAMPLE)
        if not (isinstance(found, type) and issubclass(found, Block)):
            raise DitbenchError(f"{self.defined_at} is not a subclass of Block", _EXAMPLE)
        if found.forward is Block.forward:
            raise DitbenchError(f"{self.defined_at} does not define forward(self, x, c)", _EXAMPLE)
        try:
            inspect.signature(found).bind("spec", "index")
        except TypeError as error:
            what = f"{self.defined_at} does not define __init__(self, spec, index)"
            raise DitbenchError(what, _EXAMPLE) from error
        pairs = isinstance(found.initial, tuple | list) and all(map(_is_rule, found.initial))
        if not pairs:
            raise DitbenchError(
                f"`initial` of {self.defined_at} is not a tuple of (pattern, rule)",
                "write initial = (('blocks.*.gates.*', zero),), with the last comma",
            )
        return found

    def _blocks(self) -> str:
        """The classes of blocks that the module defines, as a hint."""
        from ditbench.models.blocks.base import Block

        found = [
            name
            for name, each in vars(self._module).items()
            if isinstance(each, type)
            and issubclass(each, Block)
            and each.__module__ == self._module.__name__
        ]
        return f"it has {', '.join(found)}" if found else ""

    @cached_property
    def source(self) -> bytes:
        """The file that the class is in, as it was imported; a DitbenchError without one."""
        if self.file is None or not Path(self.file).is_file():
            raise DitbenchError(
                f"{self.name} has no source file that a run can record: {self.defined_at}",
                "put the class into a file of its own: --block ./my_block.py:MyBlock",
            )
        return Path(self.file).read_bytes()

    @property
    def sha256(self) -> str:
        """SHA-256 of `source`, 64 hexadecimal digits."""
        return hashlib.sha256(self.source).hexdigest()

    @property
    def location(self) -> str:
        """The location under which another process finds the class."""
        if self._container == "__main__" and self.file:
            return f"{os.path.abspath(self.file)}:{self._attribute}"  # noqa: PTH100
        return self.defined_at

    @cached_property
    def file(self) -> str | None:
        """The path of the file that the class is in, if there is one."""
        if _is_file(self._container):
            return self._container
        return getattr(self._module, "__file__", None)

    @cached_property
    def _module(self) -> ModuleType:
        container = self._container
        if _is_file(container):
            source = self.source
            with user_traceback(self.name, container, _AT_IMPORT):
                return _execute(container, source)
        with user_traceback(self.name, None, _AT_IMPORT):
            try:
                return import_module(container)
            except ModuleNotFoundError as error:
                if not f"{container}.".startswith(f"{error.name}."):
                    raise  # another module that this one imports
                message = f"there is no module '{error.name}'"
                raise DitbenchError(message, f"is it installed? Otherwise {HOW_TO_NAME}") from error


def _is_rule(entry: object) -> bool:
    return (
        isinstance(entry, tuple | list)
        and len(entry) == 2
        and isinstance(entry[0], str)
        and callable(entry[1])
    )


def _execute(path: str, source: bytes) -> ModuleType:
    """The module of a file; executed once, and again if its content changes."""
    # Its directory is not searched for modules: a run records the digest of this one file.
    digest = hashlib.sha256(path.encode() + b"\0" + source).hexdigest()
    name = f"{FILE_MODULE}{digest[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = path
    code = compile(source, path, "exec", dont_inherit=True)
    sys.modules[name] = module  # dataclasses and torch's compiler look it up during execution
    try:
        exec(code, vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module
