"""SIGINT (Ctrl-C) and SIGTERM as requests to stop: finish the step, save, leave."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from ditbench.world import World

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Seconds between two looks for a stop while another thread computes.
GLANCE = 0.1


T = TypeVar("T")


class Stopped(Exception):  # noqa: N818 (not an error)
    """A run ended early because of a signal with this number; its state is saved."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class StopRequest:
    """Whether the process was asked to stop. Loops check it between two parts of their work.

    Attributes:
        show: receives what is being done, how many of its parts are done, and of how many.
    """

    number: int | None = None  # of the first signal
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
        """Work of so many parts begins, after a `check`."""
        self._activity, self._done, self._parts = activity, 0, parts
        self.advance(0)

    def advance(self, parts: int = 1) -> None:
        """So many parts of the work are done; `check`."""
        self._done += parts
        if self.show is not None and self._activity:
            self.show(self._activity, self._done, self._parts)
        self.check()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let the first signal raise KeyboardInterrupt: nothing has to be saved."""
        self.check()
        before, self._at_once = self._at_once, True
        try:
            yield
        finally:
            self._at_once = before

    def wait_for(self, compute: Callable[[], T]) -> T:
        """The result of a computation that cannot be divided; `Stopped` does not wait for it."""
        outcome: dict[str, Any] = {}

        def run() -> None:
            try:
                outcome["result"] = compute()
            except BaseException as error:
                outcome["error"] = error

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(GLANCE)
            self.check()
        if "error" in outcome:
            raise outcome["error"]
        result: T = outcome["result"]
        return result

    def take(self, number: int, _frame: FrameType | None) -> None:
        """Signal handler: note the first signal; raise KeyboardInterrupt at the second."""
        again, self.number = self.number is not None, self.number or number
        if again or self._at_once:
            raise KeyboardInterrupt


class SharedStop(StopRequest):
    """A request that all processes of a world see at the same step: each look is an exchange.

    Args:
        own: the request of this process, which its signals set.
        world: the processes.
    """

    def __init__(self, own: StopRequest, world: World) -> None:
        self.own = own
        self.world = world

    def __bool__(self) -> bool:
        self.number = int(self.world.most(self.own.number or 0)) or None
        return self.number is not None

    def check(self) -> None:
        """Raise `Stopped` if a stop was requested of any process."""
        if self:
            super().check()


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
