"""Values of the files of a run: their types, and errors that name them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from ditbench.errors import DitbenchError, one_line
from ditbench.report.facts import FACTS
from ditbench.report.reading.metrics import MetricFacts

Row = dict[str, Any]

# By the type that a fact has in pandas.
_TYPES: dict[str, TypeAdapter[Any]] = {
    "str": TypeAdapter(Annotated[str, Field(min_length=1, strict=True)]),
    "int64": TypeAdapter(Annotated[int, Field(ge=0, lt=2**63, strict=True)]),
    "float64": TypeAdapter(Annotated[float, Field(allow_inf_nan=False, strict=True)]),
    "sha256": TypeAdapter(Annotated[str, Field(pattern="^[0-9a-f]{64}$", strict=True)]),
    "metrics": TypeAdapter(list[MetricFacts]),
}
_BY_FILE = {name: [fact for fact in FACTS if fact.file == name]
            for name in ("result", "cost", "config", "eval")}  # fmt: skip
# What a file may lack. Memory is null if the device does not report it.
_DEFAULTS = {
    "dataset_digest": "",
    "features_digest": "",
    "peak_memory_bytes": math.nan,
    "skipped_updates": 0,
    "eval_seconds": math.nan,
}


def read_value(values: Row, key: str, dtype: str, file: str, default: Any = None) -> Any:
    """A value of a type in `_TYPES`; None counts as missing. Errors name file, key and value."""
    value = values.get(key)
    if value is None and default is None:
        raise DitbenchError(f"{file}: {key} is missing")
    if value in (None, default):
        return default
    try:
        return _TYPES[dtype].validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, (key, *first["loc"])))
        reason = f"{first['msg']}, not {show(first['input'])}"
        raise DitbenchError(f"{file}: {where}: {reason}") from error


def show(value: Any) -> str:
    """A value as Python writes it, cut to fit a line."""
    try:
        text = repr(value)
    except ValueError:  # Python does not write integers of thousands of digits
        text = f"a number of {value.bit_length():,} bits"
    return one_line(text, 60)


def facts_in(path: Path, values: Row, file: str | None = None) -> Row:
    """The facts that one of the files holds. In a configuration they have other names."""
    row: Row = {}
    name, of_config = path.name, path.suffix == ".toml"
    for fact in _BY_FILE[file or path.stem]:
        key = fact.keys[0] if of_config else fact.name
        row[fact.name] = read_value(values, key, fact.dtype, name, _DEFAULTS.get(fact.name))
    return row
