"""Seconds per step, in parts of several steps that are timed in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ditbench.training.device.stopwatch import synchronize
from ditbench.world import ALONE, World

Mark = torch.cuda.Event | float

PARTS = 20
LEAST_PARTS = 10  # fewer have no meaningful 10% and 90% quantiles
# The number of steps to time is estimated from the fastest of these: others may be delayed.
ESTIMATES = 3


@dataclass(frozen=True)
class Timed:
    """A step to be timed, and in how many parts of how many steps."""

    step: Callable[[], object]  # makes one step, without synchronizing
    parts: int
    steps: int

    @classmethod
    def of(cls, step: Callable[[], object], steps: int) -> Timed:
        """About `steps` steps, at least `LEAST_PARTS`, in up to `PARTS` parts of equal length."""
        parts = min(PARTS, max(LEAST_PARTS, steps))
        return cls(step, parts, max(1, round(steps / parts)))


@dataclass(frozen=True)
class Length:
    """How long each row is timed."""

    seconds: float  # of training; also the most seconds after which sampling is repeated
    steps: int | None = None  # of training, in place of the seconds; at least `LEAST_PARTS`
    sampling: bool = True  # whether sampling is timed, too

    def timed(
        self, step: Callable[[], object], device: torch.device, world: World = ALONE
    ) -> Timed:
        """As many steps as given, or as are estimated to fill the seconds; alike in a world."""
        if self.steps is not None:
            return Timed.of(step, self.steps)
        (estimates,) = time_in_turn([Timed(step, parts=ESTIMATES, steps=1)], device)
        return Timed.of(step, max(LEAST_PARTS, round(self.seconds / world.most(min(estimates)))))


def time_in_turn(timed: Sequence[Timed], device: torch.device) -> list[list[float]]:
    """The seconds per step of each, in every part.

    The first parts of all are timed first, then the second parts, and so on: disturbances of the
    machine (another process, a lower clock rate) then affect all of them alike. A GPU is
    synchronized only at the end: CUDA events mark the beginning and end of each part.
    """
    marks: list[list[tuple[Mark, Mark]]] = [[] for _ in timed]
    synchronize(device)
    for turn in range(max(one.parts for one in timed)):
        for one, own in zip(timed, marks, strict=True):
            if turn < one.parts:
                own.append(_part(one, device))
    synchronize(device)
    pairs = zip(timed, marks, strict=True)
    return [[_seconds(*part) / one.steps for part in own] for one, own in pairs]


def _part(timed: Timed, device: torch.device) -> tuple[Mark, Mark]:
    started = _now(device)
    for _ in range(timed.steps):
        timed.step()
    return started, _now(device)


def _now(device: torch.device) -> Mark:
    """A point in time; on a GPU, when everything launched before is done."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event


def _seconds(started: Mark, ended: Mark) -> float:
    if isinstance(started, torch.cuda.Event):
        return started.elapsed_time(ended) / 1e3  # type: ignore[arg-type]  # both are events
    return float(ended) - started  # type: ignore[arg-type]
