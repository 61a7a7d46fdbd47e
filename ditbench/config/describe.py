"""Every key of the configuration in words, from its definition. Torch-free."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic.fields import FieldInfo

from ditbench.config.schema import RunConfig, fields, unknown_key

_BEYOND = 10**6  # limits from here on keep numbers from overflowing; nobody reaches them


class Setting(NamedTuple):
    """A key, its type and default as texts, and what it means."""

    key: str
    type: str
    default: str
    meaning: str


def settings(name: str | None = None) -> list[Setting]:
    """All keys, or those of one section, or one key; a DitbenchError if it is unknown.

    The default is that of a configuration without a preset, as it is written in TOML, or `unset`.
    """
    found = [Setting(key, *_described(key, field)) for key, field in fields().items()]
    if name is None:
        return found
    chosen = [each for each in found if each.key == name or each.key.startswith(f"{name}.")]
    if not chosen:
        raise unknown_key(name)
    return chosen


def _described(key: str, field: FieldInfo) -> tuple[str, str, str]:
    default: Any = RunConfig()
    for part in key.split("."):
        default = getattr(default, part)
    text = "unset" if default is None else json.dumps(default)
    return _type(field), text, " ".join((field.description or "").split())


def _type(field: FieldInfo) -> str:
    """The type of a key's values in words, with the limits that one may meet."""
    options = get_args(field.annotation) if get_origin(field.annotation) is UnionType else ()
    kind = next((each for each in options if each is not NoneType), field.annotation)
    if get_origin(kind) is Literal:
        *others, last = get_args(kind)
        return f"{', '.join(others)} or {last}"
    if get_origin(kind) is dict:
        return "whole numbers above 0"
    if get_origin(kind) is tuple:
        return "names, joined by commas"
    words = {bool: "true or false", str: "text", Path: "path", int: "whole number"}
    return f"{words.get(kind, 'number')}{_limits(field.metadata)}"  # type: ignore[arg-type]


def _limits(metadata: Iterable[Any]) -> str:
    """Of `Gt(0)` and `Le(1)`: ` above 0, at most 1`."""
    words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    limits = {
        word: getattr(each, name)
        for each in metadata
        for name, word in words.items()
        if hasattr(each, name)
    }
    return ",".join(f" {word} {limit:,}" for word, limit in limits.items() if limit < _BEYOND)
