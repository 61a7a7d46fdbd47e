"""Seconds of a step: many parts of several steps, timed in turn, and how far they scatter."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import quantiles
from typing import TYPE_CHECKING

import torch

from ditbench.training.stopwatch import synchronize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Mark = torch.cuda.Event | float

# A tenth and nine tenths of fewer parts than the lesser number would say nothing.
PARTS = 20
LEAST_PARTS = 10


@dataclass(frozen=True)
class Timed:
    """Something whose steps are timed.

    Attributes:
        step: makes one step, without waiting for the device.
        parts: how many times are taken.
        steps: in each part.
    """

    step: Callable[[], object]
    parts: int
    steps: int

    @classmethod
    def of(cls, step: Callable[[], object], steps: int) -> Timed:
        """So many steps, at least `LEAST_PARTS`, in up to `PARTS` parts of equal length."""
        parts = min(PARTS, max(LEAST_PARTS, steps))
        return cls(step, parts, max(1, round(steps / parts)))


@dataclass(frozen=True)
class Spread:
    """The middle and the outer tenths of some numbers, in their unit."""

    median: float
    p10: float
    p90: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread:
        """Of two numbers or more; between two of them the quantiles are interpolated."""
        tenths = quantiles(numbers, n=10, method="inclusive")
        return cls(median=tenths[4], p10=tenths[0], p90=tenths[8])


def time_in_turn(timed: Sequence[Timed], device: torch.device) -> list[list[float]]:
    """Time the first part of each, then the second of each, and so on.

    What a machine does meanwhile (another process, a clock that slows down) then meets all of them
    alike. A GPU is waited for once, at the end: its own clock tells when a part began and ended.

    Returns:
        For each, the seconds of one step in every part.
    """
    marks: list[list[tuple[Mark, Mark]]] = [[] for _ in timed]
    synchronize(device)
    for turn in range(max(one.parts for one in timed)):
        for one, own in zip(timed, marks, strict=True):
            if turn < one.parts:
                own.append(_run_part(one, device))
    synchronize(device)
    return [
        [_seconds(*part) / one.steps for part in own] for one, own in zip(timed, marks, strict=True)
    ]


def seconds_of(step: Callable[[], object], device: torch.device) -> float:
    """One step and the wait for it, by a clock on the host: a first estimate."""
    synchronize(device)
    started = time.perf_counter()
    step()
    synchronize(device)
    return time.perf_counter() - started


def _run_part(timed: Timed, device: torch.device) -> tuple[Mark, Mark]:
    started = _now(device)
    for _ in range(timed.steps):
        timed.step()
    return started, _now(device)


def _now(device: torch.device) -> Mark:
    """A point in the device's own time: on a GPU it is when all that was asked before is done."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event


def _seconds(started: Mark, ended: Mark) -> float:
    if isinstance(started, torch.cuda.Event):
        return started.elapsed_time(ended) / 1e3  # type: ignore[arg-type]  # as started
    return float(ended) - started  # type: ignore[arg-type]
