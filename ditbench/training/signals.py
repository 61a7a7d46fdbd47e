"""Ctrl-C and SIGTERM while a run trains: finish the step, save, leave."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):  # noqa: N818 (it is no error)
    """A run ended before its time because it was asked to; its state is saved.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class StopRequest:
    """Whether the process was asked to stop, and by which signal.

    Attributes:
        number: of the first signal, or None.
    """

    def __init__(self) -> None:
        self.number: int | None = None

    def __bool__(self) -> bool:
        return self.number is not None

    def check(self) -> None:
        """Raise `Stopped` once a stop was asked for."""
        if self.number is not None:
            raise Stopped(self.number)

    def take(self, number: int, frame: FrameType | None) -> None:
        """Note the first signal; a second one is a KeyboardInterrupt on the spot."""
        del frame
        if self.number is not None:
            raise KeyboardInterrupt
        self.number = number


@contextmanager
def stopping(request: StopRequest) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into a request; the handlers before are put back after.

    A signal that the process was told to ignore, as nohup does, stays ignored. In another thread
    than the main one, where Python takes no signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, request.take) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None is a handler that was not set from Python, and cannot be.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
