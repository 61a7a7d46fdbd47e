"""Paths on the command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ditbench.errors import DitbenchError
from ditbench.files import check_utf8

if TYPE_CHECKING:
    from ditbench.config import RunConfig


def expanded(value: Any) -> Any:
    """The value of an option with `~` as the home directory: no shell expands it in `--data=~/x`.

    It is not a path, a path, or several.
    """
    if isinstance(value, tuple | list):
        return type(value)(map(expanded, value))
    # os.path, because that of Path raises an error for a user that does not exist.
    return Path(os.path.expanduser(value)) if isinstance(value, Path) else value  # noqa: PTH111


def check_out(out: Path, config: RunConfig) -> None:
    """Refuse a place for runs where their files would be read as images, or cannot be read back."""
    from ditbench.data.io.files import contains

    check_utf8(out)
    data = config.data
    if data.name == "folder" and data.path is not None and contains(data.path, out):
        raise DitbenchError(
            f"the runs would go into {out}, inside of the images' folder {data.path}",
            f"choose a place outside of it: --out {data.path.parent / (out.name or 'results')}",
        )
