"""A worker of the pool: a process that executes one run after the other, and reports by messages.

It is imported by that process: torch then reads the variables that the pool has set.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, NamedTuple

from ditbench.config import RunConfig
from ditbench.data.shared import SharedDataset
from ditbench.errors import EXIT_FAILED, EXIT_SIGNAL, DitbenchError
from ditbench.plugins.lookup import restore_block
from ditbench.processes import in_processes
from ditbench.rundir import RunDirectory
from ditbench.runs.events.reporter import Reporter
from ditbench.runs.machine.environment import select_device
from ditbench.runs.planning.plan import Plan, count_cost, plan_run, resolve_all
from ditbench.runs.run import execute
from ditbench.training.stop import SharedStop, Stopped, StopRequest, stopping
from ditbench.training.trainer import Logged
from ditbench.world import join

OUTCOME, PRINTED = "outcome", "printed"  # kinds of messages beside the methods of `Reporter`
SECONDS_BETWEEN = 0.2  # the least seconds between two messages about work that is in progress


class Order(NamedTuple):
    """A run for a worker: what its plan is made from, beside the data."""

    config: RunConfig
    directory: RunDirectory
    notes: Mapping[str, Any]
    trackers: tuple[str, ...]


class Resources(NamedTuple):
    """What a worker has for all of its runs."""

    device: str
    gpus: int  # that compute each run together
    shared: SharedDataset


class _Stop(StopRequest):
    """A stop that a second signal does not hasten: a group of processes may receive it twice."""

    def take(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: note the first signal, and pass it on to processes of this one."""
        for child in multiprocessing.active_children():
            child.terminate()
        if self.number is None:
            super().take(number, frame)


class SharedWorkerStop(_Stop, SharedStop):
    """The same for processes that stop together."""


def work(connection: Connection, resources: Resources) -> None:
    """Execute the runs on these data that are received, until the pool closes the connection.

    SIGTERM saves the run and ends the process. With several GPUs, further processes compute each
    run together.
    """
    stop = _Stop()
    send = _sender(connection)
    sys.stdout, sys.stderr = (_stream(send, is_error=is_error) for is_error in (False, True))
    try:
        with stopping(stop):
            while order := _receive(connection, stop):
                send(OUTCOME, _outcome(order, resources, send, stop))
    except (Stopped, KeyboardInterrupt):
        os._exit(EXIT_SIGNAL + signal.SIGTERM)


def _outcome(
    order: Order, resources: Resources, send: Callable[..., None], stop: StopRequest
) -> dict[str, Any] | DitbenchError:
    try:
        if resources.gpus > 1:
            return _execute_together(order, resources, send, stop)
        return execute(_plan(order, resources), _Sent(send), stop)
    except DitbenchError as error:
        return error


def _execute_together(
    order: Order, resources: Resources, send: Callable[..., None], stop: StopRequest
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    try:
        for kind, *values in in_processes(resources.gpus, _part, order, resources):
            if kind == OUTCOME:
                (result,) = values
            else:
                send(kind, *values)
    except DitbenchError:  # if it is being stopped, processes may end in any way
        stop.check()
        raise
    if not result:
        stop.check()
        what = "its processes were stopped"
        raise DitbenchError(what, "the same command again resumes", EXIT_FAILED)
    return result


def _part(send: Callable[[Any], None], order: Order, resources: Resources) -> None:
    """What each process of a run does; the first one reports."""

    def emit(*message: Any) -> None:
        if message[0] == PRINTED or plan.world.first:
            send(message)

    sys.stdout, sys.stderr = (_stream(emit, is_error=is_error) for is_error in (False, True))
    plan = _plan(order, resources)
    plan = replace(plan, world=join(plan.device))
    stop = SharedWorkerStop(plan.world)
    with suppress(Stopped), stopping(stop):
        emit(OUTCOME, execute(plan, _Sent(emit), stop))


def _receive(connection: Connection, stop: StopRequest) -> Order | None:
    """The next run; None if there is none."""
    with stop.at_once():
        try:
            return Order(*connection.recv())
        except EOFError:
            return None


def _plan(order: Order, resources: Resources) -> Plan:
    """The plan of the pool, with the device of this process."""
    config, source = order.config, order.config.strategy
    copy = order.directory.strategy
    restore_block(config.block, source.location, source.sha256, copy, trust=False)
    device, dataset = select_device(resources.device), resources.shared.dataset
    (task,) = resolve_all([config], device, lambda *_: dataset)
    assert task.config.fingerprint == config.fingerprint  # the data are the same, too
    plan = plan_run(task, order.directory, count_cost(task))
    return replace(plan, notes=dict(order.notes), trackers=order.trackers)


def _sender(connection: Connection) -> Callable[..., None]:
    """A function that sends a message: its kind, and what belongs to it."""
    lock = threading.Lock()  # a block may print in a thread of its own

    def send(*message: Any) -> None:
        try:
            with lock:
                connection.send(message)
        except OSError:  # the command was killed: save the run
            signal.raise_signal(signal.SIGTERM)

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
