"""Rows to tables in every format. CSV and JSON keep plain numbers."""

from __future__ import annotations

import json
import math
import numbers
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ditbench.errors import DitbenchError, printable, unknown_name
from ditbench.files import finite
from ditbench.report.tables.columns import Column
from ditbench.rows import csv_line

if TYPE_CHECKING:
    from rich.table import Table

    Rows = Sequence[Mapping[str, Any]]

FORMATS = ("rich", "csv", "md", "latex", "json")
# Characters of a block's name in a line of a table.
_NAME = 32
_SUFFIXES = {".csv": "csv", ".md": "md", ".tex": "latex", ".json": "json"}
# The key with which a row names its best column, in tables that compare columns and not rows.
BEST_OF_ROW = "best of row"


def render(rows: Rows, columns: Sequence[Column], format: str) -> str:  # noqa: A002
    """Rows as text that ends in a newline; a DitbenchError for a format that is not text.

    `csv` and `json` hold plain numbers, missing ones (None, NaN or absent) empty or null; `md` and
    `latex` (for the booktabs package) formatted ones, the best in bold.
    """
    writers = {"csv": _csv, "json": _json, "md": _markdown, "latex": _latex}
    if format not in writers:
        raise unknown_name("format", format, writers)
    return writers[format](rows, columns)


def format_of(path: Path | None, given: str | None = None) -> str:
    """The format that is given, or else the one of a file's suffix, or `rich` without a file."""
    if given is not None and given not in FORMATS:
        raise unknown_name("format", given, FORMATS)
    if path is None:
        return given or "rich"
    if given == "rich":
        raise DitbenchError("rich tables are for the terminal", "choose --format csv|md|latex|json")
    if given is None and path.suffix.lower() not in _SUFFIXES:
        what = f"suffix '{path.suffix}'" if path.suffix else "file name without a suffix"
        known = ", ".join(_SUFFIXES)
        raise DitbenchError(f"{path}: unknown {what}", f"use one of {known}, or add --format")
    return given or _SUFFIXES[path.suffix.lower()]


def shown(columns: Sequence[Column]) -> list[Column]:
    """The columns that people see."""
    return [column for column in columns if column.header is not None]


def plain(value: Any) -> Any:
    """A plain Python value; None for a number that is not one."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def cells(rows: Rows, columns: Sequence[Column]) -> list[list[tuple[str, bool]]]:
    """The text of each cell and whether it is the best of its column."""
    best = {column.name: _best_text(rows, column) for column in columns}
    return [[_cell(row, column, best[column.name]) for column in columns] for row in rows]


def _cell(row: Mapping[str, Any], column: Column, best: str | None) -> tuple[str, bool]:
    value = plain(row.get(column.name))
    text = "–" if value is None else literal(column.text(value))
    is_best = text == best or row.get(BEST_OF_ROW) == column.name
    for names, form in (
        ((column.spread,), "{} ± {}"),
        ((column.until,), "[{}, {}]"),
        (column.interval or (None,), "{} [{}, {}]"),
    ):
        others = [plain(row.get(name)) for name in names if name]
        if others and None not in others:
            text = form.format(text, *map(column.text, others))
    return text, is_best


def _best_text(rows: Rows, column: Column) -> str | None:
    """The text of the best value. Equal texts share the mark; if all are equal, none has it."""
    values = [plain(row.get(column.name)) for row in rows]
    values = [value for value in values if isinstance(value, numbers.Real)]
    if column.best is None or len({column.text(value) for value in values}) < 2:
        return None
    return column.text(min(values) if column.best == "low" else max(values))


def plain_rows(rows: Rows, columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Rows with all columns, and plain Python values."""
    return [{column.name: plain(row.get(column.name)) for column in columns} for row in rows]


def _csv(rows: Rows, columns: Sequence[Column]) -> str:
    lines = [(column.name for column in columns)]
    return "".join(map(csv_line, [*lines, *(row.values() for row in plain_rows(rows, columns))]))


def _json(rows: Rows, columns: Sequence[Column]) -> str:
    return json_text(plain_rows(rows, columns))


def json_text(value: object) -> str:
    """Values as JSON in UTF-8; numbers that are not finite become null.

    What is not printable, or not UTF-8, is escaped as JSON does, so that no name is changed.
    """
    text = json.dumps(finite(value), indent=2, ensure_ascii=False, default=str) + "\n"
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def _markdown(rows: Rows, columns: Sequence[Column]) -> str:
    visible = shown(columns)
    lines = [
        [escape_markdown(column.header or "") for column in visible],
        ["---:" if column.is_number else ":---" for column in visible],
    ]
    for line in cells(rows, visible):
        escaped = [(escape_markdown(text), best) for text, best in line]
        lines.append([f"**{text}**" if best else text for text, best in escaped])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _latex(rows: Rows, columns: Sequence[Column]) -> str:
    visible = shown(columns)
    spec = "".join("r" if column.is_number else "l" for column in visible)
    lines = [[escape_latex(column.header or "") for column in visible]]
    for line in cells(rows, visible):
        escaped = [(escape_latex(text), best) for text, best in line]
        lines.append([rf"\textbf{{{text}}}" if best else text for text, best in escaped])
    header, *others = (" & ".join(line) + r" \\" for line in lines)
    body = "\n".join([header, r"\midrule", *others])
    return f"\\begin{{tabular}}{{{spec}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"


def literal(text: str) -> str:
    """A text on one line, without control characters: names may contain anything."""
    return printable(" ".join(text.split()))


def escape_markdown(text: str) -> str:
    """A text on one line without the meaning of Markdown."""
    # $ is mathematics and # an issue, where GitHub shows it.
    return re.sub(r"([\\`*_|<>\[\]~&$#])", r"\\\1", literal(text))


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "\v": "{}",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "–": "--",
    **{character: rf"\{character}" for character in "&%$#_{}"},
}


def escape_latex(text: str) -> str:
    """A text on one line without the meaning of LaTeX."""
    apart = re.sub("-(?=-)", "-\v", literal(text))  # -- would become a dash
    escaped = "".join(_LATEX.get(character, character) for character in apart)
    # After the end of a row, [ and * are arguments of the command that ended it.
    return "{}" * escaped.startswith(("[", "*")) + escaped


def rich_table(rows: Rows, columns: Sequence[Column]) -> Table:
    """Rows as a table for the terminal, the best of each column in bold green."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    visible = shown(columns)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    # Without the blank after it, ± moves to the next line together with its number.
    lines = cells(rows, visible)
    texts = [[(text.replace("± ", "±"), best) for text, best in line] for line in lines]
    for number, column in enumerate(visible):
        column_texts = [line[number][0] for line in texts]
        header = _fold(literal(column.header or ""), max(map(len, column_texts), default=0))
        words = [word for text in column_texts for word in text.split()]
        has_two = bool(column.spread or column.until or column.interval)
        # Text, not str: rich would read a name in square brackets as markup. A narrow terminal
        # wraps texts and ±. A number is never wrapped; if one is cut, it ends in ….
        table.add_column(
            Text(header),
            justify="right" if column.is_number else "left",
            no_wrap=number == 0 or (column.is_number and not has_two),
            min_width=max(map(len, words), default=1) if has_two else None,
        )
    for line in texts:
        if visible[0].name == "block":  # of a forced ranking, it says what the runs differ in
            name, best = line[0]
            line[0] = "\n".join(textwrap.wrap(name, _NAME, break_on_hyphens=False)), best
        table.add_row(*(Text(text, "bold green" if best else "") for text, best in line))
    return table


def bands(rows: Rows, columns: Sequence[Column], width: int) -> list[list[Column]]:
    """The shown columns in groups that each fit a width; every group begins with the first column.

    A table that is too wide would lose numbers: rich shortens columns or leaves them out.
    """
    from rich.console import Console

    console = Console(width=10_000)
    first, *others = shown(columns)
    parts: list[list[Column]] = []
    for column in others:
        if column.until and parts:  # an interval stays beside its value
            parts[-1].append(column)
        else:
            parts.append([column])
    found = [[first]]
    for part in parts:
        wider = rich_table(rows, [*found[-1], *part])
        if len(found[-1]) > 1 and console.measure(wider).maximum > width:
            found.append([first])
        found[-1] += part
    return found


def _fold(header: str, width: int) -> str:
    """A header in lines that are as narrow as its column's cells and its words allow."""
    words = textwrap.wrap(header, 1, break_long_words=False)
    width = max(width, *map(len, words), 1)
    return "\n".join(textwrap.wrap(header, width, break_long_words=False))
