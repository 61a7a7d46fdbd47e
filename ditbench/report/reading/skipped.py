"""Runs that are left out of results, each with the reason."""

from __future__ import annotations

from enum import Enum

from ditbench.errors import one_line

Skipped = tuple[str, str]  # path and reason, on one line each


class SkippedRuns(list[Skipped]):
    """The skipped runs in the `attrs` of a data frame."""

    def __deepcopy__(self, memo: object) -> SkippedRuns:
        """Itself: pandas copies `attrs` deeply in every operation, and these may be thousands."""
        return self


class Kind(Enum):
    """A reason that many runs may have, and what several of them are called."""

    DUPLICATE = "duplicates of newer runs"
    INCOMPLETE = "incomplete runs"
    FAILED = "failed runs"

    def because(self, text: str) -> str:
        """`incomplete: no result.json`."""
        return f"{self.name.lower()}: {text}"

    def of(self, skipped: list[Skipped]) -> list[Skipped]:
        """Those that are left out for this reason."""
        return [each for each in skipped if each[1].startswith(self.because(""))]


def skip(path: object, reason: object) -> Skipped:
    """A run that is left out: names, and messages with names, may contain anything."""
    return one_line(str(path)), one_line(str(reason))
