"""How a comparison is printed on a terminal: the verdict, the table, and what qualifies it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ditbench.amounts import counted
from ditbench.cli.output.printing import echo, print_sentence, print_table
from ditbench.errors import DitbenchError
from ditbench.report.remark_words import Detail
from ditbench.report.tables.columns import comparison_columns, comparison_rows

if TYPE_CHECKING:
    from ditbench.report.statistics.compare import Comparison


def print_comparisons(
    comparisons: Sequence[Comparison], names: Sequence[str] = (), *, wide: bool = False
) -> None:
    """Print the comparison of most runs; several are listed first.

    Notes that are a `Detail` are for tables of chosen columns.
    """
    shown = max(comparisons, key=runs_of)
    print_list(comparisons, shown)
    print_sentence(shown.sentence, "bold")
    echo()
    print_table(comparison_rows(shown), comparison_columns(shown, names, wide=wide))
    echo()
    for note in (*shown.notes, shown.settings):
        if wide or names or not isinstance(note, Detail):
            print_sentence(note, "dim")


def choose_group(comparisons: Sequence[Comparison], text: str) -> Comparison:
    """The comparison of this number in the list, or with this text in its name; it must be one."""
    if text.isdecimal() and 1 <= int(text) <= len(comparisons):
        return comparisons[int(text) - 1]
    found = [each for each in comparisons if text.casefold() in each.heading.casefold()]
    exact = [each for each in found if text.casefold() == each.heading.casefold()]
    found = exact or found
    if len(found) != 1:
        headings = (f"{number} ({each.heading})" for number, each in enumerate(comparisons, 1))
        raise DitbenchError(
            f"--group '{text}' names {counted(len(found), 'group') if found else 'no group'}",
            f"name one by its number, or by a part of its name: {'; '.join(headings)}",
        )
    return found[0]


def runs_of(comparison: Comparison) -> int:
    """How many runs it has."""
    return int(comparison.table["seeds"].sum())


def print_list(comparisons: Sequence[Comparison], shown: Comparison) -> None:
    """Print which groups there are, if there are several, and which of them follows."""
    if len(comparisons) == 1:
        return
    echo(f"{len(comparisons)} groups of runs; > is shown, --group N or NAME shows another:")
    for number, each in enumerate(comparisons, 1):
        blocks, runs = len(each.table), runs_of(each)
        size = f"{counted(blocks, 'block')}, {counted(runs, 'run')}"
        mark = ">" if each is shown else " "
        line = f"{mark} {number}  {each.heading}: {size}"
        print_sentence(line, "bold" if each is shown else "")
    echo()
