"""Ctrl-C where an exception would be lost: in an import, and in a process that is starting."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from traceback import walk_stack
from types import FrameType

from ditbench.errors import EXIT_INTERRUPTED


def leave_imports() -> None:
    """Let Ctrl-C end the process at once during an import; elsewhere it is a KeyboardInterrupt.

    Compiled modules call Python while they are imported. Some take a KeyboardInterrupt for an error
    of their own, drop it, or abort. Does nothing if SIGINT is ignored or has another handler.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _take)


def is_importing(frame: FrameType | None) -> bool:
    """Whether the frame belongs to an import."""
    names = (each.f_code.co_filename for each, _ in walk_stack(frame))
    return any(name.startswith("<frozen importlib.") for name in names)


def _take(_number: int, frame: FrameType | None) -> None:
    if is_importing(frame):
        with suppress(OSError):  # stderr is closed
            os.write(2, b"interrupted\n")
        os._exit(EXIT_INTERRUPTED)
    raise KeyboardInterrupt


@contextmanager
def starting_processes() -> Iterator[None]:
    """Let new processes not receive Ctrl-C, and end on SIGTERM: this process stops them.

    A terminal sends Ctrl-C to all processes, and one that starts has no handler yet.
    """
    from multiprocessing import resource_tracker  # not needed to start the command line

    resource_tracker.ensure_running()  # its start would unblock the signal
    terminated = signal.getsignal(signal.SIGTERM)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    if terminated is signal.SIG_IGN:  # which new processes inherit, unlike a handler
        signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        yield
    finally:
        if terminated is signal.SIG_IGN:
            signal.signal(signal.SIGTERM, terminated)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
