"""A lock file: only one process at a time writes to a run directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.files import cannot_write, make_directory

try:
    import fcntl
except ImportError:  # Windows: two processes on one run are not detected there
    HAS_LOCKS = False
else:
    HAS_LOCKS = True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file of a run directory, which is created if needed; remove it afterwards.

    The operating system releases the lock of a process that is killed. Raises a DitbenchError (exit
    code 1) if another process holds it, or it cannot be written.
    """
    if not HAS_LOCKS:
        yield
        return
    file = _acquire(path)
    try:
        yield
    finally:
        # Removed while it is held: a process that opens it later creates a new file. If the
        # directory was removed in the meantime, the file may belong to another process and stays.
        with suppress(OSError), file:
            if _is_still_there(path, file):
                path.unlink()


def is_held(path: Path) -> bool:
    """Whether a process holds a lock file; the file that a killed process left is not held."""
    if not HAS_LOCKS:
        return False
    try:
        file = path.open(encoding="utf-8")
    except OSError:  # none: its holder removes it
        return False
    with file:
        try:
            # Held for microseconds. Only a file that no process has locked can be taken here.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks
            return False
    return False


def _acquire(path: Path) -> IO[str]:
    while True:
        try:
            make_directory(path.parent)
            file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise cannot_write(path, error) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _held(path, file) from None
        except OSError:  # a file system without locks: run without one
            return file
        if _is_still_there(path, file):
            with suppress(OSError):  # a full disk: the holder is then unknown
                file.truncate(0)
                file.write(f"{os.getpid()}\n")
                file.flush()
            return file
        file.close()  # its holder removed it before we locked it


def _is_still_there(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _held(path: Path, file: IO[str]) -> DitbenchError:
    file.seek(0)
    holder = file.read(20).strip()
    file.close()
    who = f"process {holder}" if holder.isdecimal() else "another process"
    return DitbenchError(
        f"{path.parent} is being written by {who}",
        "wait until it has finished, or stop it; then repeat the command",
        EXIT_FAILED,
    )
