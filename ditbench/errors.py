"""The only error that a user of ditbench sees: a line, a hint and an exit code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
# Plus the number of the signal that stopped a run: 130 for Ctrl-C, 143 for SIGTERM.
EXIT_SIGNAL = 128

_MAX_LINE = 1_000  # characters of an error message


class DitbenchError(Exception):
    """Something that a user can cause and can fix.

    The command line prints `message` after `error:`, `hint` after `help:`, and exits with
    `exit_code`, without a traceback.

    Args:
        message: one line that says what is wrong, with the value that was given.
        hint: one line that says what to do about it.
        exit_code: `EXIT_FAILED` (1) when the run itself failed, `EXIT_USAGE` (2) otherwise.
    """

    def __init__(self, message: str, hint: str | None = None, exit_code: int = EXIT_USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[Any, ...]:
        """Let other processes receive it, whatever arguments a subclass takes."""
        return Exception.__new__, (type(self), *self.args), vars(self)


# What to do where memory does not suffice, and nothing can be made smaller.
LESS_MEMORY = "end other programs that use the memory, or pass --device cpu"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that the memory of a device, or of the machine, is too small."""
    # By name, without torch. Its CPU allocator has no class, nor has a driver's error.
    of_torch = type(error).__name__ == "OutOfMemoryError"
    texts = ("can't allocate memory", "CUDA error: out of memory")
    return isinstance(error, MemoryError) or of_torch or any(text in str(error) for text in texts)


def together(errors: Sequence[DitbenchError]) -> DitbenchError:
    """One error for one or more, so that all can be removed at once."""
    if len(errors) == 1:
        return errors[0]
    message = "; ".join(f"({number}) {error.message}" for number, error in enumerate(errors, 1))
    hints = dict.fromkeys(error.hint for error in errors if error.hint)
    code = max(error.exit_code for error in errors)
    return DitbenchError(f"{len(errors)} problems: {message}", "; ".join(hints) or None, code)


def printable(text: str) -> str:
    """A text with unprintable characters escaped.

    Paths and damaged files may contain newlines, which would forge a second line, control sequences
    of a terminal, or characters that reorder the others.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def printable_lines(text: str) -> str:
    """As `printable`, for a text of several lines."""
    return "\n".join(map(printable, text.split("\n")))


def one_line(text: str, most: int = _MAX_LINE) -> str:
    """A text as one line: printable, and without its middle if it is longer than `most`."""
    text, half = printable(text), most // 2
    return text if len(text) <= most else f"{text[:half]}...{text[-half:]}"


def unknown_name(kind: str, name: str, known: Iterable[str]) -> DitbenchError:
    """The error for a name that is not in `known`. It suggests the nearest ones, or lists all.

    A name also matches the last part of a dotted one: `lr` suggests `train.lr`.
    """
    by_lower_case = {word.lower(): word for word in known}
    matches = [word for word in by_lower_case if word.endswith(f".{name.lower()}")]
    matches += get_close_matches(name.lower(), by_lower_case.keys() - set(matches), 3, cutoff=0.5)
    hint = f"known: {', '.join(by_lower_case.values())}"
    if matches:
        hint = f"did you mean {' or '.join(by_lower_case[word] for word in matches[:3])}?"
    return DitbenchError(f"unknown {kind} '{name}'", hint)
