"""Exceptions raised by the code of external blocks, shown with the user's own traceback."""

from __future__ import annotations

import importlib
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ditbench.errors import EXIT_USAGE, DitbenchError, one_line

_MAX_MESSAGE = 300  # characters of the exception's own message
# Prefixes of the file names of ditbench and of the import system.
_MACHINERY = (str(Path(__file__).parents[1]), str(importlib.__file__), "<frozen ")


class BlockError(DitbenchError):
    """An exception raised by the code of an external block.

    `traceback_text` is Python's traceback from the block's first frame on.
    """

    def __init__(self, message: str, traceback_text: str, hint: str, exit_code: int) -> None:
        super().__init__(message, hint, exit_code)
        self.traceback_text = traceback_text


@contextmanager
def user_traceback(
    block: str, file: str | None, hint: str, exit_code: int = EXIT_USAGE
) -> Iterator[None]:
    """Raise a `BlockError` for any exception of a block's code.

    Exceptions of ditbench, of the file system and of memory pass unchanged, unless the traceback
    contains the block's file. `file` is None while a module is imported.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        frames = _user_frames(error, file)
        named = isinstance(error, OSError | MemoryError | DitbenchError)
        if not frames and (named or type(error).__module__.startswith("ditbench.")):
            raise
        report = traceback.TracebackException.from_exception(error)
        if frames or isinstance(error, SyntaxError):
            report.stack[:] = frames
        message = f"{in_one_line(error, file)} (block {block})"
        raise BlockError(message, "".join(report.format()), hint, exit_code) from error


def in_one_line(error: BaseException, file: str | None) -> str:
    """`mine.py:17: RuntimeError: its message`, with the last line of the user's file."""
    text = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    text = one_line(f"{type(error).__name__}: {text}".removesuffix(": "), _MAX_MESSAGE)
    if isinstance(error, SyntaxError) and error.filename:
        return f"{short_path(error.filename)}:{error.lineno}: {text}"
    frames = _user_frames(error, file)
    if not frames:
        return text
    path = frames[0].filename
    line = [frame.lineno for frame in frames if frame.filename == path][-1]
    return f"{short_path(path)}:{line}: {text}"


def short_path(file: str) -> str:
    """A path relative to the working directory, if it is below that."""
    below = os.path.relpath(file)
    return file if below.startswith("..") else below


def _user_frames(error: BaseException, file: str | None) -> list[traceback.FrameSummary]:
    """The frames from the first one in `file` on; without one, from the first outside ditbench."""
    frames = traceback.extract_tb(error.__traceback__)
    for number, frame in enumerate(frames):
        is_machinery = frame.filename.startswith(_MACHINERY)
        if frame.filename == file or (file is None and not is_machinery):
            return frames[number:]
    return []
