"""Exceptions of strategies that are not ditbench's own, in one line that names theirs."""

from __future__ import annotations

import linecache
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ditbench.errors import EXIT_USAGE, DitbenchError, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_TOLD = 300  # characters of an exception's own words


def line_of(error: BaseException, file: str | None) -> int | None:
    """The last line of a file that an exception came through; None where it came through none."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return error.lineno
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file
    ]
    return frames[-1].lineno if frames else None


def in_words(error: BaseException) -> str:
    """An exception's class and what it says, on one line."""
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return one_line(
        ": ".join(filter(None, (type(error).__name__, " ".join(said.split())))), _MOST_TOLD
    )


def told(error: BaseException, file: str | None) -> str:
    """`my_block.py:17: RuntimeError: ..., in: x.add(...)`, as much of it as is known."""
    if isinstance(error, SyntaxError) and error.filename:
        file = error.filename  # it may be in a module that the file imports
    elif file is None:  # of a module that is being imported it is the last
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame.filename for frame in frames if not frame.filename.startswith("<frozen")]
        file = own[-1] if own else None
    line = line_of(error, file)
    if file is None or line is None:
        return in_words(error)
    linecache.checkcache(file)
    text = linecache.getline(file, line).strip()
    return f"{file}:{line}: {in_words(error)}" + (f", in: {one_line(text, 100)}" if text else "")


@contextmanager
def naming_the_line(
    file: str | None, when: str, hint: str | None = None, exit_code: int = EXIT_USAGE
) -> Iterator[None]:
    """Turn whatever the code of a strategy raises into a DitbenchError that names its line.

    Args:
        file: the strategy's, if it is known.
        when: what was being done, in words.
        hint: what to do about it.
        exit_code: of the error.
    """
    try:
        yield
    except (Exception, SystemExit) as error:  # whatever it is: it is somebody else's code
        if _has_words_of_its_own(error) and line_of(error, file) is None:
            raise
        raise DitbenchError(f"{told(error, file)} ({when})", hint, exit_code) from error


def _has_words_of_its_own(error: BaseException) -> bool:
    """What ditbench raises, and what a machine lacks."""
    return isinstance(error, OSError | MemoryError) or type(error).__module__.startswith(
        "ditbench."
    )
