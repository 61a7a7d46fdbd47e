"""Progress on stderr: on a terminal a bar that disappears at the end, elsewhere a few lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib import import_module

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from ditbench.errors import one_line

SECONDS_BETWEEN_LINES = 5.0


class Meter:
    """Shows how much of the work of a command is done. This one shows nothing."""

    def show(self, label: str, done: float, total: float, state: str) -> None:
        """So much of it is done; `state` says what is being done now."""

    def say(self, text: str) -> None:
        """A part is complete."""


class _Lines(Meter):
    def __init__(self, console: Console) -> None:
        self.console = console
        self.last = time.monotonic()

    def show(self, label: str, done: float, total: float, state: str) -> None:
        if done < total and time.monotonic() - self.last > SECONDS_BETWEEN_LINES:
            self.say(f"{label}  {state}")

    def say(self, text: str) -> None:
        self.last = time.monotonic()
        # Text, not str: rich would read names in it as markup.
        self.console.print(Text(one_line(text)), soft_wrap=True)


class _Bar(_Lines):
    def __init__(self, bars: Progress) -> None:
        super().__init__(bars.console)
        self.bars = bars
        self.task = bars.add_task("", total=None, state="")

    def show(self, label: str, done: float, total: float, state: str) -> None:
        text = one_line(label)
        self.bars.update(self.task, description=text, completed=done, total=total, state=state)


@contextmanager
def meter(*, quiet: bool = False) -> Iterator[Meter]:
    """The meter for stderr; it shows nothing if quiet."""
    console = Console(stderr=True)
    if quiet:
        yield Meter()
    elif _is_terminal(console):
        columns = (
            TextColumn("{task.description}", "bold", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[state]}", markup=False),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bars:
            yield _Bar(bars)
    else:
        yield _Lines(console)


def _is_terminal(console: Console) -> bool:
    return console.is_interactive and console.file.isatty()


def load_torch(*, quiet: bool = False) -> None:
    """Import torch, which takes seconds; a terminal shows that it is being loaded."""
    console = Console(stderr=True)
    shown = not quiet and "torch" not in sys.modules and _is_terminal(console)
    if shown:  # no bar: Ctrl-C ends the process in an import, and would leave a part of it
        print("loading torch", end="", file=console.file, flush=True)
    try:
        import_module("torch")
    finally:
        if shown:
            print("\r\x1b[K", end="", file=console.file, flush=True)


@contextmanager
def one_by_one(label: str, names: Sequence[str]) -> Iterator[Iterator[str]]:
    """Iterate over names while the meter shows the current one."""
    with meter() as shown:

        def each() -> Iterator[str]:
            for done, name in enumerate(names):
                shown.show(label, done, len(names), name)
                yield name

        yield each()


@contextmanager
def reading(*, quiet: bool = False) -> Iterator[None]:
    """Show the progress of reading pictures; nothing if none are read."""
    from ditbench.data.reading import shown_by

    with ExitStack() as stack:
        meter_of_all = cache(lambda: stack.enter_context(meter(quiet=quiet)))

        def show(done: int, total: int) -> None:
            meter_of_all().show("pictures", done, total, f"{done:,}/{total:,} read")

        with shown_by(show):
            yield
