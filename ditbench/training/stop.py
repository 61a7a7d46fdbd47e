"""SIGINT (Ctrl-C) and SIGTERM as requests to stop: finish the step, save, leave."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from ditbench.ctrl_c import is_importing
from ditbench.errors import EXIT_FAILED
from ditbench.world import World

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Seconds between two looks for a stop while another thread computes.
GLANCE = 0.1
# Seconds in which a process of several acts on a stop, if the others are there.
PATIENCE = 30.0

T = TypeVar("T")


class Stopped(Exception):  # noqa: N818 (not an error)
    """A run ended early because of a signal with this number; its state is saved."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class StopRequest:
    """Whether the process was asked to stop. Loops check it between two parts of their work."""

    number: int | None = None  # of the first signal
    # Receives what is being done, how many of its parts are done, and of how many.
    show: Callable[[str, int, int], None] | None = None
    _at_once = False
    _activity, _done, _parts = "", 0, 0

    def __bool__(self) -> bool:
        return self.number is not None

    def check(self) -> None:
        """Raise `Stopped` if a stop was requested."""
        if self.number is not None:
            raise Stopped(self.number)

    def begin(self, activity: str, parts: int) -> None:
        """Work of so many parts begins."""
        self._activity, self._done, self._parts = activity, 0, parts
        self._show(0)

    def advance(self, parts: int = 1) -> None:
        """So many parts of the work are done; `check`."""
        self._show(parts)
        self.check()

    def passed(self, parts: int) -> None:
        """The same, where the number of calls may differ between the processes of a world."""
        self.advance(parts)

    def _show(self, parts: int) -> None:
        self._done = min(self._done + parts, self._parts)
        if self.show is not None and self._activity:
            self.show(self._activity, self._done, self._parts)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let the first signal raise KeyboardInterrupt: nothing has to be saved."""
        before, self._at_once = self._at_once, True
        try:
            self.check()  # of a signal that came before
            yield
        finally:
            self._at_once = before

    def wait_for(self, compute: Callable[[], T]) -> T:
        """The result of a computation that cannot be divided; `Stopped` does not wait for it."""
        outcome: Future[T] = Future()

        def run() -> None:
            try:
                outcome.set_result(compute())
            except BaseException as error:
                outcome.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        while not wait([outcome], GLANCE).done:
            self.check()
        return outcome.result()

    def take(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: note the first signal; raise KeyboardInterrupt at the second."""
        again, self.number = self.number is not None, self.number or number
        if again or (self._at_once and not is_importing(frame)):
            raise KeyboardInterrupt


class SharedStop(StopRequest):
    """A request that the processes of a world act on together: each check is an exchange.

    `number` is the signal that this process received. A process that cannot act on it, because it
    waits for one that has ended, leaves after some seconds.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._acted = threading.Event()
        self._computing = threading.Lock()
        threading.Thread(target=self._leave_if_stuck, args=(_wakeup(),), daemon=True).start()

    def __bool__(self) -> bool:
        return self._agreed() > 0

    def check(self) -> None:
        """Raise `Stopped` if a stop was requested of any process."""
        if number := self._agreed():
            self._acted.set()
            raise Stopped(number)

    def passed(self, parts: int) -> None:
        """Show that so many parts are done."""
        self._show(parts * self.world.size)  # about as many as in this process

    def wait_for(self, compute: Callable[[], T]) -> T:
        """The result of the computation, in which no process waits for another. A stop waits."""
        with self._computing:
            return compute()

    def _agreed(self) -> int:
        return int(self.world.most(self.number or 0))

    def _leave_if_stuck(self, signals: int) -> None:
        # Python's handler cannot run while the main thread waits for a GPU.
        os.read(signals, 1)
        with self._computing:
            pass
        if not self._acted.wait(PATIENCE):
            os._exit(EXIT_FAILED)


def _wakeup() -> int:
    """A file descriptor with a byte for each signal that the process receives."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    return reading


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
