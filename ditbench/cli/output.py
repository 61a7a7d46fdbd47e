"""Where results come from by default, and how tables leave: printed, or written to a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    import pandas as pd
    from rich.console import Console

    from ditbench.report.tables.columns import Column

# Wide enough for any table: what reads a pipe does not wrap.
PIPE_WIDTH = 200


def emit(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    format: str | None,  # noqa: A002 (the option's name)
    output: Path | None,
) -> None:
    """Print a table, or write it to a file."""
    from ditbench.report.tables.render import format_of, render

    chosen = format_of(output, format)
    if chosen == "rich":
        print_table(rows, columns)
    else:
        emit_text(render(rows, columns, chosen), output)


def emit_text(text: str, output: Path | None) -> None:
    """Print text that ends in a newline, or write it to a file."""
    if output is None:
        typer.echo(text, nl=False)
    else:
        from ditbench.files import write_text

        write_text(output, text)


def print_table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], title: str | None = None
) -> None:
    """Print a table on stdout; where the terminal is narrower, in several one below the other."""
    from rich.text import Text

    from ditbench.report.tables.terminal import bands, rich_table

    console = _console()
    if title:
        console.print(Text(title, "italic"))
    for number, band in enumerate(bands(rows, columns, console.width)):
        if number:
            console.print()
        console.print(rich_table(rows, band))


def print_sentence(text: str) -> None:
    """Print a sentence on stdout: a terminal's lines end between words, a pipe has one line."""
    from rich.text import Text

    console = _console()
    if console.is_terminal:
        console.print(Text(text))
    else:
        typer.echo(text)


def print_rich(table: object) -> None:
    """Print a rich table on stdout, never cut to a pipe's 80 columns."""
    _console().print(table)


def _console() -> Console:
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


def load_runs(given: Path | None, blocks: str | None = None) -> pd.DataFrame:
    """The runs to tell about; stderr names those that could not be used, and why.

    Args:
        given: a directory; None is `results` below here or, when that holds no complete run,
            the reference runs.
        blocks: names of strategies or groups joined by commas; None is all.

    Raises:
        DitbenchError: none of these runs is of a strategy that is asked for.
    """
    from ditbench.report.reading.results import load_results

    runs = load_results(given or _default_results(), blocks)
    for path, reason in runs.attrs.get("skipped", []):
        typer.secho("skipped: ", fg="yellow", nl=False, err=True)
        typer.echo(f"{path}: {reason}", err=True)
    return runs


def _default_results() -> Path:
    from ditbench.report.reading.find import find_runs

    own = Path("results")
    if any(run.is_complete() for run in find_runs(own)):
        return own
    reference = reference_results()
    typer.echo(f"no complete run in {own}/: these are the reference runs, {reference}", err=True)
    return reference


def reference_results() -> Path:
    """The project's own measured runs: in the clone, or in the installed package."""
    package = Path(__file__).parents[1]
    clone = package.parent / "results" / "reference"
    return clone if clone.is_dir() else package / "reference"
