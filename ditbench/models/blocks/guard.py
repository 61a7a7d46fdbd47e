"""Whatever the code of a strategy raises as a line for people, if it is not ditbench's own code."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ditbench.errors import EXIT_USAGE
from ditbench.models.blocks import outside
from ditbench.models.blocks.blame import naming_the_line

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def guarded(block: str, exit_code: int = EXIT_USAGE) -> Iterator[None]:
    """Within it, exceptions of a strategy from outside are a DitbenchError that names the line.

    Those of ditbench's own strategies are faults of ditbench, and pass.

    Args:
        block: its name.
        exit_code: of the error.
    """
    theirs = outside(block)
    if theirs is None:
        yield
        return
    hint = f"`ditbench blocks check {theirs.place}` looks for more"
    with naming_the_line(theirs.file, f"by {theirs.name}", hint, exit_code):
        yield
