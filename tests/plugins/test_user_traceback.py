"""Exceptions of a user's code, with the user's own traceback."""

import pytest

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.plugins.user_traceback import BlockError, in_one_line, user_traceback


@pytest.fixture
def theirs(tmp_path):
    """A file with a function that raises what it is given, below one of ditbench's."""
    path = tmp_path / "mine.py"
    path.write_text("def outer(error):\n    inner(error)\n\ndef inner(error):\n    raise error\n")
    names = {}
    exec(compile(path.read_text(), str(path), "exec"), names)
    return str(path), names["outer"]


def raised(file, call, *arguments):
    with pytest.raises(BlockError) as caught, user_traceback("Mine", file, "look", EXIT_FAILED):
        call(*arguments)
    return caught.value


def test_the_traceback_begins_in_the_user_s_file(theirs):
    file, outer = theirs
    error = raised(file, outer, KeyError("lost"))
    assert error.traceback_text.splitlines() == [
        "Traceback (most recent call last):",
        f'  File "{file}", line 2, in outer',
        "    inner(error)",
        f'  File "{file}", line 5, in inner',
        "    raise error",
        "KeyError: 'lost'",
    ]
    assert error.message == f"{file}:5: KeyError: 'lost' (block Mine)"
    assert (error.hint, error.exit_code) == ("look", EXIT_FAILED)


def test_an_exception_outside_of_the_file_keeps_its_whole_traceback():
    def fail():
        raise ValueError("elsewhere")

    error = raised("/nowhere/mine.py", fail)
    assert f'File "{__file__}"' in error.traceback_text
    assert error.message == "ValueError: elsewhere (block Mine)"


@pytest.mark.parametrize("kind", [OSError, MemoryError, DitbenchError])
def test_errors_that_are_reported_elsewhere_pass(kind, theirs):
    file, outer = theirs
    with pytest.raises(kind), user_traceback("Mine", file, "look"):
        raise kind("mine")
    assert "mine" in raised(file, outer, kind("mine")).message


def test_an_interruption_passes(theirs):
    file, outer = theirs
    with pytest.raises(KeyboardInterrupt), user_traceback("Mine", file, "look"):
        outer(KeyboardInterrupt())


def test_a_message_is_one_line(theirs, monkeypatch, tmp_path):
    file, outer = theirs
    error = RuntimeError("two\nlines \x1b[2J " + "long " * 200)
    with pytest.raises(RuntimeError):
        outer(error)
    monkeypatch.chdir(tmp_path)
    text = in_one_line(error, file)
    assert text.startswith("mine.py:5: RuntimeError: two lines \\x1b[2J long")
    assert len(text) < 350
    assert in_one_line(KeyError(), file) == "KeyError"
