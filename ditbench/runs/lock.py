"""One process a run directory: the second one is told, and a dead one holds nothing."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.files import cannot_write, make_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: two processes on one run are not told apart there
    HAS_LOCKS = False
else:
    HAS_LOCKS = True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a run directory's lock file; it is gone again afterwards.

    The operating system releases the lock of a process that ends in whatever way, so that a run
    that was killed can be gone on with at once.

    Args:
        path: of the lock file; its directory is made.

    Raises:
        DitbenchError: exit code 1, when another process holds it, or the place cannot be written.
    """
    if not HAS_LOCKS:
        yield
        return
    file = _acquire(path)
    try:
        yield
    finally:
        # Removed while it is held: who opens it later makes a new one. One that another process
        # made, because the directory was removed in between, is not ours to remove.
        with suppress(OSError):
            if _is_still_there(path, file):
                path.unlink()
        with suppress(OSError):
            file.close()


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
        except OSError:  # a file system without locks: better unguarded than not at all
            return file
        if _is_still_there(path, file):
            with suppress(OSError):  # who holds it is told where there is room to say so
                file.truncate(0)
                file.write(f"{os.getpid()}\n")
                file.flush()
            return file
        file.close()  # its holder removed it between our opening and locking it


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
        "wait until it is done, or stop it: the same command then goes on",
        EXIT_FAILED,
    )
