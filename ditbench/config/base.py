"""What the sections of a configuration are made of: types of keys, and their marks. Torch-free."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ditbench.files import check_utf8

Table = dict[str, Any]


class Mark(Enum):
    """How a key is treated in the fingerprint and in config.toml; without a mark it is in both.

    NOT_IDENTITY: a name, a location or a choice of implementation. It does not change what is
    computed, so it is not part of the fingerprint.
    ADDED_LATER: a key that was added after runs had been made. Its default is what those runs did.
    At its default it is left out of both, so that those runs keep their fingerprint.
    """

    NOT_IDENTITY = "not identity"
    ADDED_LATER = "added later"


def _location(value: Any) -> Any:
    """A path of a user: `~` is the home directory, and `.` gets the name of its folder."""
    if not isinstance(value, str | Path):
        return value
    path = Path(os.path.expanduser(value))  # noqa: PTH111 (that of Path raises for unknown users)
    check_utf8(path)
    # Tables name the images by the last part of their path.
    return path if path.name not in ("", "..") else Path(os.path.abspath(path))  # noqa: PTH100


# A path is text in TOML.
Location = Annotated[
    Path | None, Field(strict=False), BeforeValidator(_location), Mark.NOT_IDENTITY
]
# A number that a block defines: a rank, a count of tokens.
Option = Annotated[int, Field(gt=0, le=65_536)]


def _split_names(given: Any) -> Any:
    """The names in a text that separates them by commas; anything else as it is."""
    if not isinstance(given, str):
        return given
    return [name for part in given.split(",") if (name := part.strip())]


# A list of names in TOML, or one text with commas: `--set metrics.also=a,b`.
Names = Annotated[
    tuple[str, ...], Field(strict=False), BeforeValidator(_split_names), Mark.NOT_IDENTITY
]


class Section(BaseModel):
    """A table of the configuration: immutable, without unknown keys; `true` is not a number.

    The text below a key says what it means: `ditbench settings` and the documentation show it.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )
