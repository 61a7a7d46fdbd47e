"""A condition on the rows of a comparison, for CI: `fid > 1.05 * baseline`."""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ditbench.errors import DitbenchError, one_line, unknown_name
from ditbench.report.facts import INFERRED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ditbench.report.statistics.compare import Comparison

_HINT = "write --fail-if 'fid > 1.05 * baseline', or several: 'kid > 20 and seeds >= 3'"
_SHOWN = 100  # characters of a condition in an error message
_SIGNS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_NUMBER = r"-?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
_TERM = re.compile(
    rf"\s*(?P<column>[a-z]\w*)\s*(?P<sign>[<>]=?)\s*"
    rf"(?:(?:(?P<factor>{_NUMBER})\s*\*\s*)?(?P<baseline>baseline)|(?P<number>{_NUMBER}))\s*",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True)
class Failure:
    """A row of which the condition is true, or that lacks a value that it needs."""

    block: str
    values: dict[str, float]
    reason: str


@dataclass(frozen=True)
class Term:
    """One comparison of a condition.

    Attributes:
        column: of the table of a comparison.
        sign: `>`, `>=`, `<` or `<=`.
        amount: what the column's value is compared with, as a multiple of the baseline's value if
            `relative`.
        relative: whether it is.
    """

    column: str
    sign: str
    amount: float
    relative: bool

    def values(self, row: Mapping[str, Any], baseline: Mapping[str, Any]) -> dict[str, float]:
        """What the term compares, by name."""
        found = {self.column: float(row[self.column])}
        if self.relative:
            found[f"baseline.{self.column}"] = float(baseline[self.column])
        return found

    def holds(self, row: Mapping[str, Any], baseline: Mapping[str, Any]) -> bool:
        """Whether it is true of a row."""
        limit = self.amount * float(baseline[self.column]) if self.relative else self.amount
        return _SIGNS[self.sign](float(row[self.column]), limit)


@dataclass(frozen=True)
class Gate:
    """A condition that must not be true of any block: `COLUMN OP [FACTOR *] baseline | NUMBER`.

    OP is `>`, `>=`, `<` or `<=`; `baseline` is the baseline's value of the same column. Several
    such terms are joined by `and`.

    Attributes:
        text: as it was given.
        terms: parsed; see `parse_gate`.
    """

    text: str
    terms: tuple[Term, ...]

    def check(self, comparison: Comparison) -> list[Failure]:
        """The rows that fail, in the order of the table.

        A row without one of the numbers fails, too: a gate that cannot be checked must not pass.
        The exception is the baseline, which has no p value, beside blocks that have one.

        Raises:
            DitbenchError: a name that is not a column with numbers.
        """
        table = comparison.table
        rows: list[dict[str, Any]] = table.to_dict("records")  # type: ignore[assignment]
        baseline = next(row for row in rows if row["block"] == comparison.baseline)
        known = [name for name in table.columns if name != "block"]
        for term in self.terms:
            if term.column not in known:
                raise unknown_name("column", term.column, known)
        if len(rows) > 1 and any(term.column in INFERRED for term in self.terms):
            rows.remove(baseline)
        return [failure for row in rows if (failure := self._check_row(row, baseline))]

    def _check_row(self, row: Mapping[str, Any], baseline: Mapping[str, Any]) -> Failure | None:
        values: dict[str, float] = {}
        for term in self.terms:
            values |= term.values(row, baseline)
        for name, value in values.items():
            if math.isnan(value):
                return Failure(row["block"], values, f"{name} is unknown")
        if all(term.holds(row, baseline) for term in self.terms):
            return Failure(row["block"], values, self.text)
        return None


def parse_gate(text: str) -> Gate:
    """Parse a condition.

    Raises:
        DitbenchError: it is not one.
    """
    terms = tuple(_term(part, text) for part in re.split(r"\band\b", text))
    return Gate(text.strip(), terms)


def _term(part: str, text: str) -> Term:
    match = _TERM.fullmatch(part)
    if match is not None:
        amount = float(match["number"] or match["factor"] or 1)
        if math.isfinite(amount):
            return Term(match["column"], match["sign"], amount, match["baseline"] is not None)
    raise DitbenchError(
        f"--fail-if '{one_line(text, _SHOWN)}' is not a condition: "
        f"'{one_line(part.strip(), _SHOWN)}' does not compare a column with a number or `baseline`",
        _HINT,
    )
