"""Values from files that may be damaged: of the requested type, or an error that names them."""

from __future__ import annotations

import math
from typing import Any

from ditbench.errors import DitbenchError

Row = dict[str, Any]

_INT64 = 2**63
# Characters of a value in an error message.
_MAX_SHOWN = 60


def show(value: Any) -> str:
    """A value as Python writes it, cut to fit a line."""
    try:
        text = repr(value)
    except ValueError:  # Python does not write integers of thousands of digits
        text = f"a number of {value.bit_length():,} bits"
    except RecursionError:
        text = f"a {type(value).__name__} that is nested too deeply"
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


def _get(table: Row, key: str, file: str) -> Any:
    value = table.get(key)
    if value is None or value == "":
        raise DitbenchError(f"{file}: {key} is missing")
    return value


def text(table: Row, key: str, file: str) -> str:
    """A text that is not empty."""
    value = _get(table, key, file)
    if not isinstance(value, str):
        raise DitbenchError(f"{file}: {key} is not a text: {show(value)}")
    return value


def whole(table: Row, key: str, file: str) -> int:
    """A whole number in 0..2**63-1."""
    value = _get(table, key, file)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _INT64:
        raise DitbenchError(f"{file}: {key} is not a whole number: {show(value)}")
    return value


def number(table: Row, key: str, file: str) -> float:
    """A finite number."""
    value = _get(table, key, file)
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            finite = float(value)
        except OverflowError:  # JSON has integers of any length
            finite = math.inf
        if math.isfinite(finite):
            return finite
    raise DitbenchError(f"{file}: {key} is not a finite number: {show(value)}")


def flatten(table: Row, prefix: str = "") -> Row:
    """Nested tables as one with dotted keys: `{"train": {"lr": 1}}` -> `{"train.lr": 1}`."""
    flat: Row = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
