"""A condition on the rows of a comparison, for CI: `fid > 1.05 * baseline`."""

from __future__ import annotations

import ast
import math
import operator
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ditbench.errors import DitbenchError, printable, unknown_name
from ditbench.report.columns import INFERRED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ditbench.report.compare import Comparison

_HINT = "write --fail-if 'fid > 1.05 * baseline', or with more columns 'kid > 20 and seeds >= 3'"
_BASELINE = "baseline"
_SHOWN = 100  # characters of a condition that an error repeats
_LONGEST = 500  # characters: deeper nesting than these allow would exhaust Python's parser

_ARITHMETIC: dict[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISONS: dict[type[ast.AST], Callable[[float, float], bool]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
}


@dataclass(frozen=True)
class Failure:
    """A row that the condition is true of, or that lacks what it asks about."""

    block: str
    values: dict[str, float]
    reason: str


@dataclass(frozen=True)
class Gate:
    """A condition that must not hold for any block.

    Names are columns of `Comparison.table` with numbers. `baseline` is the baseline's value of the
    one column that the same comparison names; `baseline.kid` names another. There are numbers,
    + - * /, parentheses, > >= < <=, `and`, `or` and `not`. Nothing else is evaluated.

    Attributes:
        text: as it was given.
        tree: parsed and checked; see `parse_gate`.
    """

    text: str
    tree: ast.expr

    def check(self, comparison: Comparison) -> list[Failure]:
        """The rows that fail, in the order of the table.

        A row whose number is missing fails too: a gate that cannot be checked must not pass. Only
        the baseline beside itself is passed over where others were tested: it has no p value.

        Raises:
            DitbenchError: a name that is no column with numbers.
        """
        table = comparison.table
        rows: list[dict[str, Any]] = table.to_dict("records")  # type: ignore[assignment]
        reference = next(row for row in rows if row["block"] == comparison.baseline)
        known = [name for name in table.columns if name != "block"]
        for name in _columns(self.tree):
            if name not in known:
                raise unknown_name("column", name, known)
        infers = any(name in INFERRED for name in _own_columns(self.tree))
        if infers and len(rows) > 1:
            rows = [row for row in rows if row is not reference]
        return [failure for row in rows if (failure := self._check_row(row, reference))]

    def _check_row(self, row: Mapping[str, Any], reference: Mapping[str, Any]) -> Failure | None:
        values = {name: float(row[name]) for name in _own_columns(self.tree)}
        values |= {
            f"{_BASELINE}.{name}": float(reference[name]) for name in _baseline_columns(self.tree)
        }
        missing = [name for name, value in values.items() if math.isnan(value)]
        if missing:
            return Failure(row["block"], values, f"{missing[0]} is unknown")
        try:
            fails = _truth(self.tree, row, reference)
        except ZeroDivisionError:
            return Failure(row["block"], values, "it divides by 0")
        except ArithmeticError as error:
            return Failure(row["block"], values, str(error))
        return Failure(row["block"], values, self.text) if fails else None


def parse_gate(text: str) -> Gate:
    """Read a condition.

    Raises:
        DitbenchError: it is not one, or `baseline` stands for no one column.
    """
    try:
        if len(text) > _LONGEST:
            raise ValueError(f"it is longer than {_LONGEST} characters")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's own, of escapes in texts
            tree = ast.parse(text.strip(), mode="eval").body
        _check_condition(tree)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise DitbenchError(
            f"--fail-if '{_brief(text)}' is not a condition: {_brief(reason)}", _HINT
        ) from error
    return Gate(text.strip(), tree)


def _brief(text: str) -> str:
    """A text as one short line that any terminal can show."""
    shown = printable(text)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."


def _check_condition(node: ast.expr) -> None:
    if isinstance(node, ast.BoolOp):
        for value in node.values:
            _check_condition(value)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        _check_condition(node.operand)
    elif isinstance(node, ast.Compare) and all(type(op) in _COMPARISONS for op in node.ops):
        for number in (node.left, *node.comparators):
            _check_number(number)
        if _names_bare_baseline(node) and len(_own_columns(node)) != 1:
            raise ValueError("`baseline` beside several columns or none; write baseline.fid")
    else:
        raise ValueError(f"`{ast.unparse(node)}` is not a comparison with > >= < or <=")


def _check_number(node: ast.expr) -> None:
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        _check_number(node.left)
        _check_number(node.right)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        _check_number(node.operand)
    elif isinstance(node, ast.Attribute):
        if not (isinstance(node.value, ast.Name) and node.value.id == _BASELINE):
            raise ValueError(f"`{ast.unparse(node)}` is not a column; write fid or baseline.fid")
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            raise ValueError(f"{ast.unparse(node)} is not a number")
        if not math.isfinite(float(node.value)):  # which an integer may be too large for
            raise ValueError(f"{ast.unparse(node)} is not a finite number")
    elif not isinstance(node, ast.Name):
        raise ValueError(f"`{ast.unparse(node)}` is not arithmetic of columns and numbers")


def _truth(node: ast.expr, row: Mapping[str, Any], reference: Mapping[str, Any]) -> bool:
    if isinstance(node, ast.BoolOp):
        every = all if isinstance(node.op, ast.And) else any
        return every(_truth(value, row, reference) for value in node.values)
    if isinstance(node, ast.UnaryOp):
        return not _truth(node.operand, row, reference)
    assert isinstance(node, ast.Compare)
    column = next(iter(_own_columns(node)), "")
    left = _value(node.left, row, reference, column)
    for comparison, side in zip(node.ops, node.comparators, strict=True):
        # Only now: behind a comparison that is false Python computes nothing either.
        right = _value(side, row, reference, column)
        if math.isnan(left) or math.isnan(right):
            raise ArithmeticError("its numbers are too large")
        if not _COMPARISONS[type(comparison)](left, right):
            return False
        left = right
    return True


def _value(
    node: ast.expr, row: Mapping[str, Any], reference: Mapping[str, Any], column: str
) -> float:
    """A side of a comparison; `baseline` alone is the baseline's value of `column`."""
    match node:
        case ast.BinOp():
            left = _value(node.left, row, reference, column)
            return _ARITHMETIC[type(node.op)](left, _value(node.right, row, reference, column))
        case ast.UnaryOp():
            return -_value(node.operand, row, reference, column)
        case ast.Attribute():
            return float(reference[node.attr])
        case ast.Name(id=name):
            return float(reference[column] if name == _BASELINE else row[name])
        case _:
            assert isinstance(node, ast.Constant)
            return float(node.value)  # type: ignore[arg-type]


def _columns(node: ast.expr) -> list[str]:
    """Every column that a condition names, of a row or of the baseline."""
    return list(dict.fromkeys([*_own_columns(node), *_baseline_columns(node)]))


def _baseline_columns(node: ast.expr) -> list[str]:
    """The columns of the baseline that a condition asks about: `baseline` is the one beside it."""
    names = [part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)]
    for part in ast.walk(node):
        if isinstance(part, ast.Compare) and _names_bare_baseline(part):
            names += _own_columns(part)
    return list(dict.fromkeys(names))


def _own_columns(node: ast.expr) -> list[str]:
    return list(dict.fromkeys(name for name in _names(node) if name != _BASELINE))


def _names_bare_baseline(node: ast.expr) -> bool:
    inside = {id(part.value) for part in ast.walk(node) if isinstance(part, ast.Attribute)}
    return any(
        isinstance(part, ast.Name) and part.id == _BASELINE and id(part) not in inside
        for part in ast.walk(node)
    )


def _names(node: ast.expr) -> Iterable[str]:
    return (part.id for part in ast.walk(node) if isinstance(part, ast.Name))
