"""What every refusal promises, and how the tests hold it to that."""

from __future__ import annotations

import signal
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

    from ditbench.errors import DitbenchError

# Longer, and nobody reads to the end of a line.
MAX_LINE = 2_000
SECONDS = 20


@contextmanager
def in_time(seconds: int = SECONDS) -> Iterator[None]:
    """Fail what waits for ever: for a pipe's writer, or the end of a device."""

    def give_up(*_: object) -> None:
        raise AssertionError(f"still not done after {seconds} seconds")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def tree(root: Path) -> dict[str, tuple[int, int, int]]:
    """Everything below a folder: its kind, size and time of change, links not followed."""
    found = {}
    for path in [root, *root.rglob("*")]:
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
        found[str(path)] = (kind, size, status.st_mtime_ns)
    return found


def assert_one_line(text: str) -> None:
    """One line that a terminal shows as it is."""
    assert text
    assert len(text) < MAX_LINE
    assert text.isprintable(), ascii(text)


def assert_refused(told: Result, code: int, *parts: str) -> None:
    """Nothing but `error:` and `help:`, a line each; the error has these parts."""
    assert told.exception is None or isinstance(told.exception, SystemExit), repr(told.exception)
    assert (told.exit_code, told.stdout) == (code, ""), told.stderr
    assert told.stderr.endswith("\n")
    lines = told.stderr[:-1].split("\n")
    assert len(lines) == 2, told.stderr
    for line, label in zip(lines, ("error: ", "help: "), strict=True):
        assert line.startswith(label)
        assert_one_line(line)
    for part in parts:
        assert part in lines[0]


def assert_error(error: DitbenchError, *parts: str) -> None:
    """The same of an error that a library function raised."""
    assert_one_line(error.message)
    assert error.hint
    assert_one_line(error.hint)
    for part in parts:
        assert part in error.message


def assert_hint(error: DitbenchError) -> None:
    """The error says what to do; its own text is shown by the command line, which cleans it."""
    assert error.message
    assert error.hint
