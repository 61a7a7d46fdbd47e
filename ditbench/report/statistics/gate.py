"""A condition on the rows of a comparison, for CI: `fid > 1.05 * baseline`."""

from __future__ import annotations

import math
import operator
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ditbench.errors import DitbenchError, one_line, unknown_name
from ditbench.report.facts import INFERRED

if TYPE_CHECKING:
    import pandas as pd

    from ditbench.report.statistics.compare import Comparison

_SIGNS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_NUMBER = r"-?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
_TERM = re.compile(
    rf"\s*(?P<column>[a-z]\w*)\s*(?P<sign>[<>]=?)\s*"
    rf"(?:(?:(?P<factor>{_NUMBER})\s*\*\s*)?(?P<baseline>baseline)|(?P<number>{_NUMBER}))\s*",
    re.ASCII | re.IGNORECASE,
)


class Failure(NamedTuple):
    """A row for which the condition is true, or that lacks a value that it needs."""

    block: str
    values: dict[str, float]
    reason: str


class Term(NamedTuple):
    """`COLUMN SIGN AMOUNT`, or with `relative` `COLUMN SIGN AMOUNT * baseline`."""

    column: str
    sign: str
    amount: float
    relative: bool

    @property
    def of_baseline(self) -> str:
        """The name of the baseline's value."""
        return f"baseline.{self.column}"

    def is_true(self, values: dict[str, float]) -> bool:
        """Whether it holds for the values of a row, and of the baseline."""
        amount = self.amount * (values[self.of_baseline] if self.relative else 1.0)
        return bool(_SIGNS[self.sign](values[self.column], amount))


class Gate(NamedTuple):
    """A condition that must not be true of any block: terms joined by `and`."""

    text: str
    terms: tuple[Term, ...]

    def check(self, comparison: Comparison) -> list[Failure]:
        """The rows that fail, in the order of the table.

        A row without one of the numbers fails, too: a gate that cannot be checked must not pass.
        The exception is the baseline, which has no p value, beside blocks that have one.
        """
        table = comparison.table.set_index("block").drop(columns="model", errors="ignore")
        for term in self.terms:
            if term.column not in table:
                raise unknown_name("column", term.column, table.columns)
        rows = dict(table.iterrows())
        baseline = rows[comparison.baseline]
        if len(rows) > 1 and any(term.column in INFERRED for term in self.terms):
            del rows[comparison.baseline]
        found = (self._failure(str(block), row, baseline) for block, row in rows.items())
        return list(filter(None, found))

    def _failure(self, block: str, row: pd.Series[Any], baseline: pd.Series[Any]) -> Failure | None:
        values = {each.column: float(row[each.column]) for each in self.terms}
        relative = [each for each in self.terms if each.relative]
        values |= {each.of_baseline: float(baseline[each.column]) for each in relative}
        unknown = [name for name, value in values.items() if math.isnan(value)]
        if unknown or all(term.is_true(values) for term in self.terms):
            reason = f"{unknown[0]} is unknown" if unknown else self.text
            return Failure(block, values, reason)
        return None


def parse_gate(text: str) -> Gate:
    """Parse `COLUMN OP [FACTOR *] baseline` or `COLUMN OP NUMBER`, or several joined by `and`.

    OP is `>`, `>=`, `<` or `<=`; `baseline` is the baseline's value of the same column. A
    DitbenchError for another text.
    """
    terms = []
    for part in re.split(r"\band\b", text):
        match = _TERM.fullmatch(part)
        amount = float(match["number"] or match["factor"] or 1) if match else math.nan
        if not (match and math.isfinite(amount)):
            whole, bad = one_line(text, 100), one_line(part.strip(), 100)
            raise DitbenchError(
                f"--fail-if '{whole}' is not a condition: '{bad}' does not compare a column with a "
                "number or `baseline`",
                "write --fail-if 'fid > 1.05 * baseline', or several: 'kid > 20 and seeds >= 3'",
            )
        terms.append(Term(match["column"], match["sign"], amount, bool(match["baseline"])))
    return Gate(text.strip(), tuple(terms))
