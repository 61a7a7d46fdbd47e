"""What commands print: tables and files, notes on stderr, and the runs to read by default."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from ditbench.errors import one_line, printable, printable_lines
from ditbench.files import write_output
from ditbench.report.reading.skipped import Kind, Skipped
from ditbench.report.tables.columns import Column
from ditbench.report.tables.render import bands, json_text, rich_table

if TYPE_CHECKING:
    from ditbench.report.reading.sweeps import Sweep


# Wide enough for any table: a pipe does not wrap lines.
PIPE_WIDTH = 1000
# Characters of a text in a table.
MOST = 150
# The labels of a line on stderr, and their colours on a terminal.
LABELS = {
    **dict.fromkeys(("error", "failed"), "red"),
    **dict.fromkeys(("warning", "skipped"), "yellow"),
    **dict.fromkeys(("help", "latents", "pictures"), "cyan"),
}


def note(label: str, text: str) -> None:
    """Print `label: text` on stderr as one line; the label is one of `LABELS`."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    line = one_line(" ".join(text.splitlines()))
    console.print(Text.assemble((f"{label}: ", f"bold {LABELS[label]}"), line))


def echo(text: object = "", *, err: bool = False) -> None:
    """Print a line on stdout, or on stderr; `typer.echo` replaces ASCII by UTF-8."""
    print(printable(str(text)), file=sys.stderr if err else sys.stdout, flush=True)


def echo_path(path: Path) -> None:
    """Print a path that another program may read; see `emit_text`."""
    emit_text(f"{path}\n", None)


def progress(*, quiet: bool) -> Callable[[str], None]:
    """A function that prints a line on stderr, or nothing."""
    return (lambda _text: None) if quiet else (lambda text: echo(text, err=True))


def emit_text(text: str, output: Path | None) -> None:
    """Print text that ends in a newline, or write it to a file.

    A file is replaced as a whole; links, pipes and devices keep their place. On a terminal, what is
    not printable is escaped.
    """
    if output is None:
        print(printable_lines(text) if sys.stdout.isatty() else text, end="", flush=True)
    else:
        write_output(output, lambda file: file.write(text.encode(errors="backslashreplace")))


def print_table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], title: str | None = None
) -> None:
    """Print a table on stdout; on a narrow terminal as several tables, one below the other."""
    console = _console()
    if title:
        print_sentence(title, "italic")
    for number, band in enumerate(bands(rows, columns, console.width)):
        if number:
            console.print()
        console.print(rich_table(rows, band))


def print_sentence(text: str, style: str = "") -> None:
    """Print a sentence on stdout: wrapped between words on a terminal, as one line in a pipe."""
    if sys.stdout.isatty():
        _console().print(Text(printable(text), style))
    else:
        echo(text)


def print_texts(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], title: str) -> None:
    """Print a table of texts, which wrap on a narrow terminal, and an empty line."""
    from ditbench.report.reading.one_run import in_words

    if rows:
        texts = [{key: one_line(in_words(row[key]), MOST) for key in row} for row in rows]
        print_sentence(title)
        print_wrapped(texts, columns)
    else:
        echo(f"{title}: none")
    echo()


def print_json(value: object) -> None:
    """Print plain values, paths and the like as JSON."""
    emit_text(json_text(value), None)


def print_wrapped(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], width: int | None = None
) -> None:
    """Print a table on stdout whose texts wrap to a width, if given, or a narrower terminal."""
    console = _console()
    table = rich_table(rows, columns)
    table.width = None if width is None else min(width, console.width)
    console.print(table)


def _console() -> Console:
    # Not `Console.is_terminal`: FORCE_COLOR makes it true in a pipe.
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)


def load_sweeps(place: Path) -> list[Sweep]:
    """Read the sweeps in a directory; stderr names the runs that could not be used."""
    from ditbench.report.reading.sweeps import read_sweeps

    sweeps, skipped = read_sweeps(place)
    note_skipped(skipped)
    return sweeps


def note_skipped(skipped: list[Skipped]) -> None:
    """Name the runs that could not be used on stderr, and why; many of a kind in one line."""
    for kind in Kind:
        alike = kind.of(skipped)
        if len(alike) > 1:
            note("skipped", f"{len(alike)} {kind.value}, such as {alike[0][0]}")
            named = set(alike)
            skipped = [each for each in skipped if each not in named]
    for path, reason in skipped:
        note("skipped", f"{path}: {reason}")


def reference_results() -> Path:
    """The project's own measured runs: in the clone, or in the installed package."""
    package = Path(__file__).parents[2]
    clone = package.parent / "results" / "reference"
    return clone if clone.is_dir() else package / "reference"
