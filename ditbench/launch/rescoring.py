"""Complete runs scored again by several processes, which divide its samples."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ditbench.errors import DitbenchError
from ditbench.launch.worker import OUTCOME, SECONDS_BETWEEN, SharedWorkerStop
from ditbench.processes import in_processes
from ditbench.runs.machine.environment import select_device
from ditbench.runs.planning.rescoring import Rescoring
from ditbench.runs.scoring.rescore import Reporter, rescore
from ditbench.training.stop import Stopped, StopRequest, stopping
from ditbench.world import World, join

# What a command is planned as on a device: the work, and the runs that are skipped.
Planned = tuple[list[Rescoring], list[tuple[Path, DitbenchError]]]


def rescore_together(
    plan: Callable[..., Planned],
    jobs: Sequence[Rescoring],
    gpus: int,
    reporter: Reporter,
    stop: StopRequest,
) -> Iterator[tuple[Rescoring, dict[str, Any] | DitbenchError]]:
    """As `rescore`, in so many new processes, each of which loads data and models itself.

    `plan` is what is to be done with `device=`, as `plan_rescoring`, and can be pickled; `jobs` are
    what it returned in this process. The reporter receives what the first process reports. Raises
    Stopped if a stop was requested, with the draws so far written; or the error of a process.
    """
    forwarded = False
    sent = in_processes(gpus, _part, plan, jobs[0].plan.device.type)
    for kind, number, *values in _messages(sent, stop):
        job = jobs[number]
        if kind == OUTCOME:
            yield job, values[0]
        elif kind == "working":
            reporter.working(*values)
        else:
            getattr(reporter, kind)(job, *values)
        if stop.number is not None and not forwarded:
            forwarded = True
            for child in multiprocessing.active_children():
                child.terminate()
    stop.check()


def _messages(sent: Iterator[Any], stop: StopRequest) -> Iterator[Any]:
    """What processes send. Before the first message nothing has to be saved."""
    try:
        with stop.at_once():
            first = list(islice(sent, 1))
        yield from chain(first, sent)
    except DitbenchError:  # processes that are being stopped may end in any way
        stop.check()
        raise


def _part(send: Callable[[Any], None], plan: Callable[..., Planned], device: str) -> None:
    """What each process does; the first one writes and reports."""
    jobs, _ = plan(device=select_device(device))
    world = join(jobs[0].plan.device)
    jobs = [replace(job, plan=replace(job.plan, world=world)) for job in jobs]
    stop = SharedWorkerStop(world)
    with suppress(Stopped), stopping(stop):
        for number, (_, outcome) in enumerate(rescore(jobs, _Sent(send, jobs, world), stop)):
            if world.first:
                send((OUTCOME, number, outcome))


class _Sent:
    """Sends what `rescore` reports, with the number of the job."""

    def __init__(
        self, send: Callable[[Any], None], jobs: Sequence[Rescoring], world: World
    ) -> None:
        self.send, self.jobs, self.world = send, jobs, world
        self.number, self.last = 0, 0.0

    def begin(self, job: Rescoring) -> None:
        self.number = self.jobs.index(job)
        self._emit("begin")

    def working(self, activity: str, done: int, parts: int) -> None:
        now = time.monotonic()
        if done in (0, parts) or now - self.last > SECONDS_BETWEEN:
            self.last = now
            self._emit("working", activity, done, parts)

    def scored(self, job: Rescoring, row: dict[str, Any]) -> None:
        del job
        self._emit("scored", row)

    def _emit(self, kind: str, *values: Any) -> None:
        if self.world.first:
            self.send((kind, self.number, *values))
