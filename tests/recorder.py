"""Reporters: one that keeps what it receives, one that stops the run; and a terminal."""

import io
import signal
from types import SimpleNamespace

import pytest

from ditbench.runs.events.reporter import Reporter
from ditbench.training.stop import Stopped, StopRequest


class Terminal(io.StringIO):
    """A file that is a terminal."""

    def isatty(self):
        return True


class Recorder(Reporter):
    """Keeps events as objects with a `kind`, the name of the method, and hands them to `then`."""

    def __init__(self, then=None):
        self.events = []
        self.then = then

    def of(self, kind):
        return [event for event in self.events if event.kind == kind]

    def _keep(self, kind, **facts):
        event = SimpleNamespace(kind=kind, **facts)
        self.events.append(event)
        if self.then:
            self.then(event)

    def started(self, plan, step, seconds, per_score):
        self._keep("started", plan=plan, step=step, seconds=seconds)

    def logged(self, row):
        self._keep("logged", **vars(row))

    def evaluated(self, row):
        self._keep("evaluated", row=row)

    def warned(self, text):
        self._keep("warned", text=text)

    def finished(self, plan, result, *, reused):
        self._keep("finished", plan=plan, result=result, reused=reused)

    def failed(self, plan, error):
        self._keep("failed", plan=plan, error=error)


def recorded(plan):
    """Execute a plan; returns its result, and a reporter with what happened."""
    from ditbench.runs.run import execute

    recorder = Recorder()
    return execute(plan, recorder), recorder


def leave_at(plan, is_the_moment):
    """Execute a plan, and leave it at the first event of which that is true, as if killed."""
    from ditbench.runs.run import execute

    def leave(event):
        if is_the_moment(event):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(plan, Recorder(leave))


def at_row(step):
    """Whether an event is the row of the log of a step."""
    return lambda event: event.kind == "logged" and event.step == step


def stop_at(plan, is_the_moment):
    """Execute a plan, and stop it at the first event of which that is true."""
    from ditbench.runs.run import execute

    stop = StopRequest()

    def ask_to_stop(event):
        if is_the_moment(event):
            stop.number = signal.SIGTERM

    with pytest.raises(Stopped):
        execute(plan, Recorder(ask_to_stop), stop)
