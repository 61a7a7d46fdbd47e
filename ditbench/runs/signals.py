"""SIGINT (Ctrl-C) and SIGTERM become requests to stop: finish the step, save, leave."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ditbench.training.stop import StopRequest

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
