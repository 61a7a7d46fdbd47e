"""Tables for a terminal: colored, and split if the terminal is too narrow."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from ditbench.report.tables.render import cells, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from ditbench.report.tables.columns import Column
    from ditbench.report.tables.render import Rows


def rich_table(rows: Rows, columns: Sequence[Column], title: str | None = None) -> Table:
    """Rows as a table for the terminal, the best of each column in bold green."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    visible = shown(columns)
    table = Table(
        title=Text(title) if title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=0,
    )
    # Without the blank after it, ± moves to the next line together with its number.
    texts = [
        [(text.replace("± ", "±"), best) for text, best in line] for line in cells(rows, visible)
    ]
    for number, column in enumerate(visible):
        column_texts = [line[number][0] for line in texts]
        header = _fold(column.header or "", max(map(len, column_texts), default=0))
        words = [word for text in column_texts for word in text.split()]
        # Text, not str: rich would read a name in square brackets as markup. A narrow terminal
        # wraps texts and ±. A number is never wrapped; if one is cut, it ends in ….
        table.add_column(
            Text(header),
            justify="right" if column.is_number else "left",
            no_wrap=number == 0 or (column.is_number and column.second is None),
            min_width=max(map(len, words), default=1) if column.second else None,
        )
    for line in texts:
        table.add_row(*(Text(text, "bold green" if best else "") for text, best in line))
    return table


def bands(rows: Rows, columns: Sequence[Column], width: int) -> list[list[Column]]:
    """The shown columns in groups that each fit a width; every group begins with the first column.

    A table that is too wide would lose numbers: rich shortens columns or leaves them out.
    """
    from rich.console import Console

    console = Console(width=10_000)
    first, *others = shown(columns)
    found = [[first]]
    for part in _inseparable(others):
        wider = rich_table(rows, [*found[-1], *part])
        if len(found[-1]) > 1 and console.measure(wider).maximum > width:
            found.append([first])
        found[-1] += part
    return found


def _inseparable(columns: Sequence[Column]) -> list[list[Column]]:
    """Columns one by one, but an interval together with its value."""
    parts: list[list[Column]] = []
    for column in columns:
        if column.until and parts:
            parts[-1].append(column)
        else:
            parts.append([column])
    return parts


def _fold(header: str, width: int) -> str:
    """A header in lines that are as narrow as its column's cells and its words allow."""
    words = textwrap.wrap(header, 1, break_long_words=False)
    width = max(width, *map(len, words), 1)
    return "\n".join(textwrap.wrap(header, width, break_long_words=False))
