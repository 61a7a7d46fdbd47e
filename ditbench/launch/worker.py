"""A worker of the pool: a process that executes one run after the other, and reports by messages.

It is imported by that process: torch then reads the variables that the pool has set.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import cache
from multiprocessing.connection import Connection
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from ditbench.data import load_dataset
from ditbench.errors import EXIT_SIGNAL, DitbenchError
from ditbench.plugins.lookup import restore_block
from ditbench.runs.environment import select_device
from ditbench.runs.plan import Plan, count_cost, plan_run, resolve_all
from ditbench.runs.progress import Reporter
from ditbench.runs.run import execute
from ditbench.training.stop import Stopped, StopRequest, stopping

if TYPE_CHECKING:
    import torch

    from ditbench.config import RunConfig
    from ditbench.data.dataset import ImageDataset
    from ditbench.rundir import RunDirectory
    from ditbench.training.trainer import Logged

# Kinds of messages beside the methods of `Reporter`.
OUTCOME, PRINTED = "outcome", "printed"
# The least seconds between two messages about work that is in progress.
SECONDS_BETWEEN = 0.2


class Order(NamedTuple):
    """A run for a worker: what its plan is made from. The worker loads the data itself."""

    config: RunConfig
    directory: RunDirectory
    notes: Mapping[str, Any]


class _Stop(StopRequest):
    """A stop that a second signal does not hasten: a group of processes may receive it twice."""

    def take(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: note the first signal."""
        if self.number is None:
            super().take(number, frame)


def work(connection: Connection, device: str) -> None:
    """Execute the runs that are received, until the pool closes the connection.

    SIGTERM saves the run and ends the process.
    """
    stop = _Stop()
    send = _sender(connection, stop)
    sys.stdout, sys.stderr = (_stream(send, is_error=is_error) for is_error in (False, True))
    place, read = select_device(device), cache(load_dataset)
    try:
        with stopping(stop):
            while order := _receive(connection, stop):
                outcome: dict[str, Any] | DitbenchError
                try:
                    outcome = execute(_plan(order, place, read), _Sent(send), stop)
                except DitbenchError as error:
                    outcome = error
                send(OUTCOME, outcome)
    except (Stopped, KeyboardInterrupt):
        os._exit(EXIT_SIGNAL + signal.SIGTERM)


def _receive(connection: Connection, stop: StopRequest) -> Order | None:
    """The next run; None if there is none."""
    with stop.at_once():
        try:
            return Order(*connection.recv())
        except EOFError:
            return None


def _plan(order: Order, device: torch.device, read: Callable[..., ImageDataset]) -> Plan:
    """The plan of the pool, with this process's data."""
    config, source = order.config, order.config.strategy
    if source.location and source.sha256:
        copy = order.directory.strategy
        restore_block(config.block, source.location, source.sha256, copy, trust=False)
    (task,) = resolve_all([config], device, read)
    assert task.config.fingerprint == config.fingerprint  # the data are the same, too
    return plan_run(task, order.directory, count_cost(task)).with_notes(dict(order.notes))


def _sender(connection: Connection, stop: StopRequest) -> Callable[..., None]:
    """A function that sends a message: its kind, and what belongs to it."""
    lock = threading.Lock()  # a block may print in a thread of its own

    def send(*message: Any) -> None:
        try:
            with lock:
                connection.send(message)
        except OSError:  # the command was killed: save the run
            stop.number = stop.number or signal.SIGTERM

    return send


class _Sent(Reporter):
    """Sends the events of a run. The pool knows its plan, for which None is sent."""

    def __init__(self, send: Callable[..., None]) -> None:
        self.send = send
        self.last = 0.0

    def preparing(self, plan: Plan) -> None:
        """Nothing: the pool knows that it has begun."""

    def working(self, activity: str, done: int, parts: int) -> None:
        now = time.monotonic()
        if done in (0, parts) or now - self.last > SECONDS_BETWEEN:
            self.last = now
            self.send("working", activity, done, parts)

    def started(self, plan: Plan, step: int, seconds: float, per_score: float) -> None:
        del plan
        self.send("started", None, step, seconds, per_score)

    def logged(self, row: Logged) -> None:
        self.send("logged", row)

    def evaluated(self, row: dict[str, Any]) -> None:
        self.send("evaluated", row)

    def scoring(self, draws: int, steps: int) -> None:
        self.send("scoring", draws, steps)

    def finished(self, plan: Plan, result: dict[str, Any], *, reused: bool) -> None:
        """Nothing: the outcome of the run is sent."""

    def warned(self, text: str) -> None:
        self.send("warned", text)


class _Printed(io.RawIOBase):
    """Sends what is printed: lines of several processes are not mixed."""

    def __init__(self, send: Callable[..., None], *, is_error: bool) -> None:
        self.send = send
        self.is_error = is_error

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self.send(PRINTED, bytes(content).decode(errors="replace"), self.is_error)
        return len(content)


def _stream(send: Callable[..., None], *, is_error: bool) -> io.TextIOWrapper:
    buffer = io.BufferedWriter(_Printed(send, is_error=is_error))
    return io.TextIOWrapper(buffer, "utf-8", errors="backslashreplace", line_buffering=True)
