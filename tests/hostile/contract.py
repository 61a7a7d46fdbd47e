"""What every refusal must look like, and the assertions that check it."""

import signal
import stat
from contextlib import contextmanager

from ditbench.errors import DitbenchError

# A longer line is not read to its end.
MAX_LINE = 2_000
SECONDS = 60


@contextmanager
def in_time(seconds=SECONDS):
    """Fail code that waits forever, for the writer of a pipe or the end of a device."""

    def give_up(*_):
        raise AssertionError(f"still not done after {seconds} seconds")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def tree(root):
    """Kind, size and modification time of everything below a folder; links are not followed."""
    found = {}
    for path in [root, *root.rglob("*")]:
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
        found[str(path)] = (kind, size, status.st_mtime_ns)
    return found


def assert_one_line(text):
    """The text is one printable line."""
    assert text
    assert len(text) < MAX_LINE
    assert text.isprintable(), ascii(text)


def assert_refused(result, code, *parts):
    """The output is one line of `error:`, with these parts, and one line of `help:`."""
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(
        result.exception
    )
    assert (result.exit_code, result.stdout) == (code, ""), result.stderr
    assert result.stderr.endswith("\n")
    lines = result.stderr[:-1].split("\n")
    assert len(lines) == 2, result.stderr
    for line, label in zip(lines, ("error: ", "help: "), strict=True):
        assert line.startswith(label)
        assert_one_line(line)
    for part in parts:
        assert part in lines[0]


def assert_error(error, *parts):
    """As `assert_refused`, for an error that a library function raised."""
    assert_one_line(error.message)
    assert error.hint
    assert_one_line(error.hint)
    for part in parts:
        assert part in error.message


def assert_hint(error):
    """The error has a hint; the command line makes its text printable."""
    assert error.message
    assert error.hint


def load_or_refuse(load):
    """What is loaded in time, or None where it is refused with a proper error."""
    try:
        with in_time(10):
            return load()
    except DitbenchError as error:
        assert_error(error)
        return None


def skipped_lines(stderr):
    """The lines of `skipped:`, of which the output consists."""
    assert stderr.endswith("\n")
    lines = stderr[:-1].split("\n")
    for line in lines:
        assert line.startswith("skipped: ")
        assert_one_line(line)
    return lines
