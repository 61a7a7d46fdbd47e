"""How far the host may run ahead of a GPU, which executes asynchronously."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import torch

# Work that may be queued, in seconds of the device. A stop has to wait for it.
SECONDS = 0.5
# Steps that may always be queued: with fewer, a device would wait for the host between two steps.
LEAST = 2


class Backlog:
    """Waits, after a step was launched, until the device has at most `SECONDS` of work left.

    An event marks the end of each step. Those that were not reached are steps in the queue. On a
    CPU, which executes synchronously, it does nothing.
    """

    def __init__(
        self, device: torch.device, new_event: Callable[..., Any] = torch.cuda.Event
    ) -> None:
        self._new_event = new_event if device.type == "cuda" else None
        self._ahead: deque[Any] = deque()  # events that the device had not reached
        self._reached: Any = None  # the last event that it had
        self._step_seconds = SECONDS  # of the last step that it has finished; at first a guess

    def launched(self) -> None:
        """A step was launched."""
        if self._new_event is None:
            return
        event = self._new_event(enable_timing=True)
        event.record()
        self._ahead.append(event)
        while self._ahead:
            oldest = self._ahead[0]
            if not oldest.query():
                if len(self._ahead) <= max(LEAST, SECONDS / self._step_seconds):
                    return
                oldest.synchronize()
            self._ahead.popleft()
            if self._reached is not None:
                self._step_seconds = max(1e-6, self._reached.elapsed_time(oldest) / 1e3)
            self._reached = oldest
