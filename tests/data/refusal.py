"""What every error of loading a folder or zip has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ditbench.data.folder import load_folder
from ditbench.errors import EXIT_USAGE, DitbenchError

if TYPE_CHECKING:
    from pathlib import Path


def refuse(path: Path, *parts: str) -> DitbenchError:
    """The error of loading `path`; every part must be in its message."""
    with pytest.raises(DitbenchError) as caught:
        load_folder(path)
    error = caught.value
    assert error.hint
    assert error.exit_code == EXIT_USAGE
    for part in parts:
        assert part in error.message
    assert "\n" not in error.message
    return error
