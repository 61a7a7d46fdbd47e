"""Values from files that may be damaged: of the declared type, or an error that names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ditbench.errors import DitbenchError, one_line

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
Row = dict[str, Any]
Text = Annotated[str, Field(min_length=1)]
Whole = Annotated[int, Field(ge=0, lt=2**63)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Table(BaseModel):
    """What is read of one file. Other keys are ignored: newer versions may write more."""

    model_config = ConfigDict(strict=True, frozen=True)


def parse(kind: TypeAdapter[T], values: Any, file: str) -> T:
    """Validate values; a key whose value is None counts as missing.

    A DitbenchError names the file, the key and the value that is missing or of another type.
    """
    if isinstance(values, dict):
        values = {key: value for key, value in values.items() if value is not None}
    try:
        return kind.validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "missing":
            raise DitbenchError(f"{file}: {key} is missing") from error
        reason = f"{first['msg']}, not {show(first['input'])}"
        raise DitbenchError(f"{file}: {key}: {reason}") from error


def show(value: Any) -> str:
    """A value as Python writes it, cut to fit a line."""
    try:
        text = repr(value)
    except ValueError:  # Python does not write integers of thousands of digits
        text = f"a number of {value.bit_length():,} bits"
    except RecursionError:
        text = f"a {type(value).__name__} that is nested too deeply"
    return one_line(text, 60)


def flatten(table: Row, prefix: str = "") -> Row:
    """Nested tables as one with dotted keys: `{"train": {"lr": 1}}` -> `{"train.lr": 1}`."""
    flat: Row = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
