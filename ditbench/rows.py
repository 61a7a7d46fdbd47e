"""CSV files that grow by one row at a time. Torch-free."""

from __future__ import annotations

import csv
import functools
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ditbench.errors import EXIT_FAILED, EXIT_USAGE, DitbenchError
from ditbench.files import cannot_write, read_text, remove_file, sync_directory, write_text


def append_row(path: Path, row: Mapping[str, Any], columns: Iterable[str]) -> None:
    """Append a row to a CSV file, after a header if it is the first one.

    A DitbenchError with exit code 1 if the file cannot be written, or has other columns because
    another version began it.
    """
    columns = list(columns)
    if row.keys() != set(columns):
        raise ValueError(f"the columns are {columns}, the row has {list(row)}")
    try:
        with path.open("a+", newline="", encoding="utf-8") as file:
            header = csv_line(columns)
            is_new = file.tell() == 0
            file.seek(0)
            if is_new:
                file.write(header)
            elif file.readline().removeprefix("\ufeff") != header:
                raise damaged(path, f"its columns are not {','.join(columns)}", EXIT_FAILED)
            file.write(csv_line(row[name] for name in columns))
            file.flush()
            os.fsync(file.fileno())  # a checkpoint on the disk counts this row
        if is_new:
            sync_directory(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a CSV file that `append_row` wrote, without one that a crash truncated.

    A file that does not exist has no rows. A DitbenchError for one that cannot be read.
    """
    if not path.is_file():
        return []
    try:
        lines = io.StringIO(read_text(path), newline="")
        # A line without its newline may lack digits of its last number.
        rows = list(csv.DictReader(line for line in lines if line.endswith("\n")))
    except OSError as error:
        reason = f"cannot read {path}: {error.strerror}"
        raise DitbenchError(reason, "check its permissions") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise damaged(path, str(error)) from error
    whole = [row for row in rows if None not in row and None not in row.values()]
    return [{name: parse_cell(text) for name, text in row.items()} for row in whole]


def check_rows(path: Path, count: int) -> None:
    """Refuse a table that cannot be read, or lacks some of the `count` rows of a checkpoint."""
    rows = read_rows(path)
    if len(rows) < count:
        raise damaged(path, f"it has {len(rows)} rows, its checkpoint counts {count}")
    steps = [row.get("step") for row in rows[:count]]
    if sorted({step for step in steps if isinstance(step, int)}) != steps:
        raise damaged(path, "its steps do not increase from row to row")


def keep_rows(path: Path, count: int | None) -> None:
    """Drop the rows of a table after the first `count`; None keeps all whole rows.

    Without a row left, the file is removed. Atomically: a crash would lose the rows that remain.
    """
    if rows := read_rows(path)[:count]:
        lines = [rows[0], *(row.values() for row in rows)]
        write_text(path, "".join(map(csv_line, lines)))
    else:
        remove_file(path)


def damaged(path: Path, reason: str, exit_code: int = EXIT_USAGE) -> DitbenchError:
    """The error for a damaged table."""
    what = f"{path} is damaged: {reason}"
    return DitbenchError(what, "move the run directory away and run it again", exit_code)


def csv_line(cells: Iterable[Any]) -> str:
    """Cells as one line of a CSV file, with its newline."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


@functools.lru_cache(maxsize=8192)  # most cells of a thousand runs repeat
def parse_cell(text: str) -> int | float | str:
    """The number in a cell of a CSV file, or else its text."""
    if "_" in text:  # Python would read 1_000 as a number
        return text
    try:
        # Half of the cells are floats, and an exception is expensive.
        return int(text) if text.removeprefix("-").isdecimal() else float(text)
    except ValueError:
        return text
