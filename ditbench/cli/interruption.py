"""What Ctrl-C and SIGTERM do to a command that trains: it saves, and tells how to go on."""

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
    """Signals become a request to stop; a stop leaves with the command that goes on."""
    from ditbench.runs.signals import stopping
    from ditbench.training.stop import Stopped, StopRequest

    stop = StopRequest()
    try:
        with stopping(stop):
            yield stop
    except Stopped:
        _leave("saved", stop)
    except KeyboardInterrupt:
        _leave("stopped at once, the last checkpoint stands", stop)


def _leave(how: str, stop: StopRequest) -> NoReturn:
    """Tell the command that goes on, which is the one that was given; exit as the signal says."""
    typer.echo(f"interrupted, {how}; to go on: {shlex.join(['ditbench', *sys.argv[1:]])}", err=True)
    raise typer.Exit(EXIT_SIGNAL + (stop.number or signal.SIGINT))
