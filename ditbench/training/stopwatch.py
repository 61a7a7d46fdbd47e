"""The clock of training: it runs while the model trains, and stands still in between."""

from __future__ import annotations

import time

import torch


class Stopwatch:
    """Seconds of training, over as many parts as it comes in.

    Args:
        device: whose work is timed.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = 0.0
        self._started: float | None = None
        self._step_before: torch.cuda.Event | None = None

    def start(self) -> None:
        """Let it run."""
        self._started = time.perf_counter()

    def stop(self) -> None:
        """Let it stand, once the device has done what it was asked to do."""
        synchronize(self.device)
        self.seconds = self._now()
        self._started = None

    def read(self) -> float:
        """Seconds so far, to be read after every step; while it stands, those when it stopped.

        A GPU works behind the host, which could put hours of steps into its queue before a clock
        on the host says that the time is up. So this waits, but for the step before the last one
        alone: the device always has a step to work on.
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
    """Wait until the device has done what it was asked to do, so that a clock means something."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
