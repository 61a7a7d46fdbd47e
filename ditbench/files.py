"""Files that are written whole or not at all, and the place of those that only save time.

Torch-free.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ditbench.errors import EXIT_FAILED, DitbenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# How the names of half-written files begin.
TEMPORARY = ".tmp-"


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file whole or not at all, and so that it outlasts a power cut.

    A temporary file is written, brought to the disk (fsync) and renamed; then the rename is brought
    to the disk.

    Raises:
        DitbenchError: exit code 1, when the place cannot be written or the disk is full.
    """
    temporary: Path | None = None
    try:
        make_directory(path.parent)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=TEMPORARY, delete=False) as file:
            temporary = Path(file.name)
            write(file)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if temporary is not None:
            with suppress(OSError):  # the place may be gone, which is told already
                temporary.unlink(missing_ok=True)


def cache_directory() -> Path | None:
    """Where things are kept that only save time; None where there is no home.

    `~/.cache/ditbench`, which `XDG_CACHE_HOME` and `DITBENCH_CACHE` move.
    """
    own, shared = os.environ.get("DITBENCH_CACHE"), os.environ.get("XDG_CACHE_HOME")
    try:
        if own:
            return Path(own).expanduser()
        return (Path(shared).expanduser() if shared else Path.home() / ".cache") / "ditbench"
    except RuntimeError:
        return None


def make_directory(path: Path) -> None:
    """Make a directory and those above it, and bring to the disk that they are there."""
    if not path.is_dir():
        make_directory(path.parent)
        path.mkdir(exist_ok=True)
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Bring to the disk which files a directory has; not every system lets one open it."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_leftovers(path: Path) -> None:
    """Remove what a process that was killed left half-written, in a directory and below."""
    for leftover in path.rglob(f"{TEMPORARY}*"):
        with suppress(OSError):
            leftover.unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError) -> DitbenchError:
    """The error for a place that takes no writing."""
    return DitbenchError(
        f"cannot write {path}: {error.strerror or error}",
        "choose a place that is writable and has room",
        EXIT_FAILED,
    )


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, UTF-8."""
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object atomically; a number that is not finite becomes null."""
    write_text(path, json.dumps(_finite(value), indent=2) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def read_json(path: Path, hint: str = "run it again") -> dict[str, Any]:
    """Read a JSON object; a DitbenchError names the file and what is wrong with it."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DitbenchError(
            f"cannot read {path}: {error.strerror}", "is the run complete?"
        ) from error
    except RecursionError as error:
        raise DitbenchError(f"{path} is nested too deeply", hint) from error
    except ValueError as error:
        raise DitbenchError(f"{path} is not JSON: {error}", hint) from error
    if not isinstance(value, dict):
        raise DitbenchError(f"{path} does not hold a JSON object", hint)
    return value
