"""The clock of training: it runs only while the model trains."""

from __future__ import annotations

import time

import torch


class Stopwatch:
    """Seconds of a device's work, summed over several parts."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = 0.0
        self._started: float | None = None
        self._step_before: torch.cuda.Event | None = None

    def start(self) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def stop(self) -> None:
        """Synchronize with the device and stop the clock."""
        synchronize(self.device)
        self.seconds = self._now()
        self._started = None

    def read(self) -> float:
        """Seconds so far; to be called after every step while the clock runs.

        It waits for a GPU's step before the last one, or the host could queue hours of steps.
        """
        if self._started is not None and self.device.type == "cuda":
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(self.device))
            if self._step_before is not None:
                self._step_before.synchronize()
            self._step_before = event
        return self._now()

    def _now(self) -> float:
        running = 0.0 if self._started is None else time.perf_counter() - self._started
        return self.seconds + running


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished all work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
