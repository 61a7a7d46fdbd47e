"""SIGINT (Ctrl-C) and SIGTERM as requests to stop: finish the step, save, leave."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):  # noqa: N818 (not an error)
    """A run ended early because of a signal with this number; its state is saved."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class StopRequest:
    """Whether the process was asked to stop. Loops check it between two steps."""

    number: int | None = None  # of the first signal

    def __bool__(self) -> bool:
        return self.number is not None

    def check(self) -> None:
        """Raise `Stopped` if a stop was requested."""
        if self.number is not None:
            raise Stopped(self.number)

    def take(self, number: int, _frame: FrameType | None) -> None:
        """Signal handler: note the first signal; raise KeyboardInterrupt at the second."""
        if self.number is not None:
            raise KeyboardInterrupt
        self.number = number


@contextmanager
def stopping(request: StopRequest) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into a request; restore the previous handlers on exit.

    A signal that the process ignores, for example under nohup, stays ignored. Python handles
    signals in the main thread only: in any other thread this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, request.take) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None is a handler that was not set from Python. It cannot be restored.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
