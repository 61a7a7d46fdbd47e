"""What a process inherits from its surroundings, and must not be broken by."""

from __future__ import annotations

import codecs
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

# Widths and heights of a terminal, for rich and typer.
_SIZES = ("COLUMNS", "LINES", "JUPYTER_COLUMNS", "JUPYTER_LINES", "TERMINAL_WIDTH")
# Texts would be padded with blanks to the width of a larger one.
_SIZE = re.compile("[1-9][0-9]{0,3}", re.ASCII)
# In place of characters of ditbench's own texts that an encoding lacks.
_INSTEAD = {"↓": "v", "↑": "^", "–": "-", "─": "-", "±": "+-", "×": "x", "…": "..."}
_ERRORS = "ditbench"


def prepare_process() -> None:
    """Ignore inherited settings that would break a command, and print on every encoding.

    To be called before other imports: libraries read their settings when they are imported.
    """
    _ignore_settings()
    codecs.register_error(_ERRORS, _replace)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        getattr(sys, name).reconfigure(errors=_ERRORS)


def _ignore_settings() -> None:
    # Nothing is drawn on a screen, and figures have a style of their own. A backend that is not
    # installed, such as that of a notebook, prevents the import of matplotlib, and torchmetrics
    # imports it.
    os.environ["MPLBACKEND"] = "agg"
    os.environ["MATPLOTLIBRC"] = os.devnull
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # about directories and fonts
    for name in _SIZES:
        if not _SIZE.fullmatch(os.environ.get(name, "1")):
            del os.environ[name]
    # PYTHONWARNINGS=error is meant for the tests of a package, and dependencies do warn.
    warnings.filters[:] = [each for each in warnings.filters if each[0] != "error"]  # type: ignore[index]
    # Processes of torch.compile, and workers.
    sys.warnoptions[:] = [each for each in sys.warnoptions if not each.startswith("error")]
    # Of Python's own process, where one that compiles was killed: nothing that a user can change.
    sys.warnoptions.append("ignore:resource_tracker")
    if "error" in os.environ.get("PYTHONWARNINGS", ""):
        del os.environ["PYTHONWARNINGS"]


def _replace(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write a character that an encoding lacks; bytes of names that are not UTF-8 stay as such."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character, end = error.object[error.start], error.start + 1
    if "\udc80" <= character <= "\udcff":
        return bytes([ord(character) - 0xDC00]), end
    return _INSTEAD.get(character, "?"), end


@contextmanager
def without_wrong_torch_settings() -> Iterator[None]:
    """Start the command again without torch's variables if torch cannot be imported with them.

    A name in TORCH_LOGS that this version of torch does not know is enough.
    """
    try:
        yield
    except Exception as error:
        names = [
            name
            for name in os.environ
            if name.startswith(("TORCH", "PYTORCH")) and not name.endswith(("HOME", "DIR"))
        ]
        frames = walk_tb(error.__traceback__)
        importing = any(frame.f_globals.get("__name__") == "torch" for frame, _ in frames)
        if not names or not importing or "torch" in sys.modules:
            raise
        message = f"warning: torch cannot be imported with {', '.join(names)}: ignored"
        print(message, file=sys.stderr, flush=True)
        kept = {name: value for name, value in os.environ.items() if name not in names}
        os.execve(sys.executable, sys.orig_argv, kept)
