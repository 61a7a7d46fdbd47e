"""Exceptions raised by the code of external blocks, shown with the user's own traceback."""

from __future__ import annotations

import importlib
import os
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ditbench.errors import EXIT_USAGE, DitbenchError, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_MESSAGE = 300  # characters of the exception's own message
# How the names of the files of ditbench and of the import system begin.
_MACHINERY = (str(Path(__file__).parents[1]), str(importlib.__file__), "<frozen ")


class BlockError(DitbenchError):
    """An exception raised by the code of an external block.

    Args:
        message: one line: where, which exception, and which block.
        traceback_text: Python's, from the block's first frame on; it ends in a newline.
        hint: as of `DitbenchError`.
        exit_code: likewise.
    """

    def __init__(self, message: str, traceback_text: str, hint: str, exit_code: int) -> None:
        super().__init__(message, hint, exit_code)
        self.traceback_text = traceback_text


@contextmanager
def user_traceback(
    block: str, file: str | None, hint: str, exit_code: int = EXIT_USAGE
) -> Iterator[None]:
    """Raise a `BlockError` for any exception of a block's code.

    Exceptions of ditbench, of the file system and of memory pass unchanged, unless they came
    through the block's file.

    Args:
        block: its name.
        file: the file of the block; None while a module is imported.
        hint: what to do about the error.
        exit_code: of the error.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        known = isinstance(error, OSError | MemoryError)
        if line_in(file, error) is None and (
            known or type(error).__module__.startswith("ditbench.")
        ):
            raise
        file = file or _first_file(error)
        message = f"{in_one_line(file, error)} (block {block})"
        raise BlockError(message, _formatted(file, error), hint, exit_code) from error


def in_one_line(file: str | None, error: BaseException) -> str:
    """`mine.py:17: RuntimeError: its message`; the line is the last one of the file."""
    text = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    text = one_line(f"{type(error).__name__}: {text}".removesuffix(": "), _MAX_MESSAGE)
    line = line_in(file, error)
    if file is None or line is None:
        return text
    return f"{short_path(file)}:{line}: {text}"


def short_path(file: str) -> str:
    """A path relative to the working directory, if it is below that."""
    below = os.path.relpath(file)
    return file if below.startswith("..") else below


def line_in(file: str | None, error: BaseException) -> int | None:
    """The last line of a file that an exception came through, or None."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return error.lineno
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    return lines[-1] if lines else None


def _first_file(error: BaseException) -> str | None:
    """The file of the first frame that is neither ditbench's nor the import system's."""
    names = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        names.append(error.filename)
    return next((name for name in names if not name.startswith(_MACHINERY)), None)


def _formatted(file: str | None, error: BaseException) -> str:
    """Python's traceback from the first frame in a file on; whole if there is none."""
    report = traceback.TracebackException.from_exception(error)
    names = [frame.filename for frame in report.stack]
    if isinstance(error, SyntaxError) and error.filename == file:
        report.stack.clear()
    elif file in names:
        del report.stack[: names.index(file)]
    return "".join(report.format())
