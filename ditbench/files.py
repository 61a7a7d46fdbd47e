"""Atomic writing of files, their sizes in words, and the place of the cache. Torch-free."""

from __future__ import annotations

import codecs
import io
import json
import math
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from ditbench.errors import EXIT_FAILED, DitbenchError, one_line

# The prefix of the names of half-written files.
TEMPORARY = ".tmp-"


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file completely or not at all, so that it survives a power failure.

    A temporary file is written, flushed to the disk (fsync) and renamed; then the rename is flushed
    to the disk. Raises a DitbenchError (exit code 1) if that is not possible.
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
            with suppress(OSError):  # the directory may be gone, which is reported already
                temporary.unlink(missing_ok=True)


def write_output(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file that a user named: as `write_atomically`, but through a link.

    A pipe or a device, such as /dev/stdout, keeps its place, too.
    """
    if not is_stream(path):
        write_atomically(through_link(path), write)
        return
    buffer = io.BytesIO()  # what is written may seek, a pipe cannot
    write(buffer)
    try:
        path.write_bytes(buffer.getvalue())
    except OSError as error:
        raise cannot_write(path, error) from error


def is_stream(path: Path) -> bool:
    """Whether a path is a pipe or a device, or a link to one."""
    with suppress(OSError):
        mode = path.stat().st_mode
        return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)
    return False


def through_link(path: Path) -> Path:
    """The file that a link leads to, which need not exist; any other path as it is."""
    return Path(os.path.realpath(path)) if os.path.islink(path) else path  # noqa: PTH114


def cache_directory() -> Path | None:
    """The directory of files that only save time; None without a home directory.

    `~/.cache/ditbench`, unless `XDG_CACHE_HOME` or `DITBENCH_CACHE` is set.
    """
    own, shared = os.environ.get("DITBENCH_CACHE"), os.environ.get("XDG_CACHE_HOME")
    try:
        if own:
            return Path(own).expanduser()
        return (Path(shared).expanduser() if shared else Path.home() / ".cache") / "ditbench"
    except RuntimeError:
        return None


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a lock file; wait as long as another process holds it. The empty file is kept.

    Nothing waits on a system or a file system without locks, or where no file can be made.
    """
    with ExitStack() as stack:
        with suppress(ImportError, OSError, DitbenchError):
            import fcntl

            make_directory(path.parent)
            file = stack.enter_context(path.open("a", encoding="utf-8"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make_directory(path: Path) -> None:
    """Make a directory and its parents, and flush their entries to the disk."""
    if not path.is_dir():
        make_directory(path.parent)
        path.mkdir(exist_ok=True)
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Flush the entries of a directory to the disk. Not every system can open one."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_file(path: Path) -> None:
    """Remove a file, if it is there. Raises a DitbenchError if that is not possible."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def remove_leftovers(path: Path) -> None:
    """Remove the half-written files of a killed process, in a directory and below."""
    for leftover in path.rglob(f"{TEMPORARY}*"):
        with suppress(OSError):
            leftover.unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError) -> DitbenchError:
    """The error for a file that cannot be written."""
    what = f"cannot write {path}: {error.strerror or error}"
    return DitbenchError(what, "choose a place that is writable and has free space", EXIT_FAILED)


def check_utf8(path: Path | str) -> None:
    """Refuse a path with a name that is not UTF-8: no text file can record it.

    Linux allows any bytes in names; Python stands for the others by surrogates. safetensors cannot
    open such a path either.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise DitbenchError(
            f"the path {one_line(str(path))} is not UTF-8",
            "rename it, or link to it by another name: ln -s IT NAME",
        ) from error


def read_text(path: Path) -> str:
    """Read a text file: UTF-8, or UTF-16 with its byte-order mark. The mark is removed.

    Raises:
        OSError: the file cannot be read.
        UnicodeDecodeError: it is neither (a ValueError).
    """
    content = path.read_bytes()
    # Editors of Windows write the mark before UTF-8, too, and its shell writes UTF-16.
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if wide else "utf-8-sig")


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, UTF-8. Names that are not UTF-8 are escaped."""
    write_atomically(path, lambda file: file.write(text.encode(errors="backslashreplace")))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object atomically; numbers that are not finite become null."""
    write_text(path, json.dumps(finite(value), indent=2) + "\n")


def finite(value: Any) -> Any:
    """A value of JSON, in which numbers that are not finite are None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path, hint: str = "run it again") -> dict[str, Any]:
    """Read a JSON object. A DitbenchError names the file and what is wrong with it."""
    try:
        value = json.loads(read_text(path))
    except OSError as error:
        reason = f"cannot read {path}: {error.strerror}"
        raise DitbenchError(reason, "is the run complete?") from error
    except RecursionError as error:
        raise DitbenchError(f"{path} is nested too deeply", hint) from error
    except ValueError as error:
        raise DitbenchError(f"{path} is not JSON: {error}", hint) from error
    if not isinstance(value, dict):
        raise DitbenchError(f"{path} does not hold a JSON object", hint)
    return value
