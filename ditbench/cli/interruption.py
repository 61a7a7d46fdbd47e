"""Ctrl-C and SIGTERM in a command that trains: it saves, and prints the command that resumes."""

from __future__ import annotations

import shlex
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import typer

from ditbench.errors import EXIT_SIGNAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ditbench.training.stop import StopRequest


@contextmanager
def interruptible() -> Iterator[StopRequest]:
    """Turn signals into a request to stop, and leave with the signal's exit code."""
    from ditbench.training.stop import Stopped, StopRequest, stopping

    stop = StopRequest()
    try:
        with stopping(stop):
            yield stop
    except Stopped:
        _leave("saved", stop)
    except KeyboardInterrupt:
        _leave("stopped at once, the last checkpoint is kept", stop)


def _leave(state: str, stop: StopRequest) -> NoReturn:
    command = shlex.join(["ditbench", *sys.argv[1:]])  # the same command resumes
    typer.echo(f"interrupted, {state}; to resume: {command}", err=True)
    raise typer.Exit(EXIT_SIGNAL + (stop.number or signal.SIGINT))
