"""Several runs at a time on one machine, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from multiprocessing.connection import wait
from typing import Any

import torch

from ditbench.ctrl_c import starting_processes
from ditbench.data.shared import SharedDataset
from ditbench.errors import EXIT_FAILED, EXIT_SIGNAL, DitbenchError
from ditbench.launch.devices import Environment, Workers
from ditbench.launch.worker import OUTCOME, PRINTED, Order, Resources, work
from ditbench.rundir import SHARED_CPU
from ditbench.runs.events.reporter import Reporter
from ditbench.runs.planning.plan import Plan
from ditbench.runs.planning.speed import Speed
from ditbench.runs.run import execute
from ditbench.training.stop import GLANCE, StopRequest

Outcome = tuple["Plan", "dict[str, Any] | DitbenchError"]


def work_of(plan: Plan) -> float:
    """The arithmetic of a run in FLOPs, without feature extractors; only to compare runs.

    With a budget of time it is that of the evaluations: training takes equally long.
    """
    step = plan.train_flops(1)
    speed = Speed.from_training(plan, step, 0.0)
    evaluations = len(plan.budget.marks) * speed.of_evaluation(plan) + speed.of_final(plan)
    return step * (plan.budget.steps or 0) + evaluations


def execute_at_once(
    plans: Sequence[Plan], reporter: Reporter, stop: StopRequest, workers: Workers
) -> Generator[Outcome]:
    """Train and evaluate runs in worker processes, the longest first; yields each when it ends.

    All runs are on the same data, which the workers receive: nothing is read or decoded again.
    A run that fails does not stop the others, nor does a worker that dies. Raises Stopped if a stop
    was requested; all runs are saved.
    """
    left = []
    for plan in plans:
        if plan.directory.is_complete():
            yield plan, execute(plan, stop=stop)
        else:
            left.append(plan)
    at_a_time = min(len(workers), len(left))
    if at_a_time > 1 and left[0].device.type == "cpu":
        left = [plan.with_notes({SHARED_CPU: at_a_time}) for plan in left]
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()  # a worker has the same GPU
    yield from _Pool(left, reporter, stop, workers).outcomes()


class _Worker:
    """A process that executes runs, and the run that it has."""

    plan: Plan
    reporter: Reporter

    def __init__(self, environment: Environment, resources: Resources) -> None:
        self.environment = environment
        # Neither torch's threads nor CUDA survive a fork.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, resources))
        with starting_processes(), _inherited(environment):
            self.process.start()
        theirs.close()

    def give(self, plan: Plan, reporter: Reporter) -> None:
        """Let it execute a run, whose events go to the reporter."""
        self.plan, self.reporter = plan, reporter
        reporter.preparing(plan)
        with suppress(OSError):  # it has died, which is noticed later
            self.connection.send(Order(plan.config, plan.directory, plan.notes, plan.trackers))

    def receive(self) -> dict[str, Any] | DitbenchError | None:
        """Pass the next message on; returns the outcome of a run, or an EOFError."""
        try:
            kind, *values = self.connection.recv()
        except OSError as error:  # it was killed
            raise EOFError from error
        if kind == OUTCOME:
            outcome: dict[str, Any] | DitbenchError = values[0]
            if not isinstance(outcome, DitbenchError):
                self.reporter.finished(self.plan, outcome, reused=False)
            return outcome
        if kind == PRINTED:
            text, is_error = values
            if is_error:
                print(text, end="", file=sys.stderr, flush=True)
            else:
                self.reporter.say(text.rstrip("\n"))
        else:  # a method of the reporter
            getattr(self.reporter, kind)(*(self.plan if v is None else v for v in values))
        return None

    def death(self) -> DitbenchError:
        """The error of its run, after the process has ended."""
        self.process.join()
        code = self.process.exitcode or 0
        try:
            how = f"was ended by {signal.Signals(-code if code < 0 else code - EXIT_SIGNAL).name}"
        except ValueError:
            how = f"ended with exit code {code}"
        hint = "if memory was too small, pass fewer --workers"
        return DitbenchError(f"its process {how}", hint, EXIT_FAILED)


class _Pool:
    """Workers, and the runs that wait for one."""

    def __init__(
        self, plans: Sequence[Plan], reporter: Reporter, stop: StopRequest, workers: Workers
    ) -> None:
        self.waiting = deque(sorted(plans, key=work_of, reverse=True))
        self.reporter, self.stop, self.places = reporter, stop, workers
        self.workers: dict[Any, _Worker] = {}  # by connection
        self.stopping = self.unfinished = False

    @cached_property
    def shared(self) -> SharedDataset:
        """The data, which all runs have, with the held-out images that they score."""
        plan = self.waiting[0]
        if plan.config.metrics.real is None:
            with self.stop.at_once(), suppress(DitbenchError):  # which each run reports
                _ = plan.dataset.held_out
        return SharedDataset.of(plan.dataset)

    def outcomes(self) -> Iterator[Outcome]:
        """Execute all runs; see `execute_at_once`."""
        self.stop.check()
        try:
            for environment in self.places.environments:
                self._start(environment)
            while self.workers:
                for connection in wait(list(self.workers), GLANCE):
                    yield from self._receive(self.workers[connection])
                if self.stop and not self.stopping:
                    self._stop()
        finally:
            for worker in self.workers.values():
                worker.process.kill()
        if self.unfinished:
            self.stop.check()

    def _start(self, environment: Environment) -> None:
        """Start a worker if a run waits for one."""
        if self.waiting:
            device = self.waiting[0].device.type
            worker = _Worker(environment, Resources(device, self.places.gpus, self.shared))
            self.workers[worker.connection] = worker
            self._give(worker)

    def _give(self, worker: _Worker) -> None:
        plan = self.waiting.popleft()
        worker.give(plan, self.reporter.of(plan))

    def _stop(self) -> None:
        """Let all workers save their runs and end."""
        self.stopping, self.unfinished = True, bool(self.waiting)
        self.waiting.clear()
        for worker in self.workers.values():
            worker.process.terminate()

    def _receive(self, worker: _Worker) -> Iterator[Outcome]:
        """Receive a message of a worker; when its run has ended, give it the next one."""
        plan, outcome = worker.plan, None
        with suppress(EOFError):
            if (outcome := worker.receive()) is None:
                return
        if outcome is not None and self.waiting:
            self._give(worker)
        else:
            del self.workers[worker.connection]
            worker.connection.close()  # which ends the process
        if outcome is None and not self.stopping:
            outcome = worker.death()
            self._start(worker.environment)
        if outcome is None:
            self.unfinished = True
        else:
            yield plan, outcome


@contextmanager
def _inherited(environment: Environment) -> Iterator[None]:
    """Let new processes have these variables."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
