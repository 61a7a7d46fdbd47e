"""Pixels in an .npy file that may be larger than memory."""

from __future__ import annotations

import math
import mmap
import os
import threading
import warnings
import weakref
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from ditbench.data.io.files import reason, shown
from ditbench.errors import EXIT_FAILED, DitbenchError

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and type of the array in an .npy file; a damaged one raises anything."""
    return _HEADERS[npy.read_magic(file)](file)


class MappedFile:
    """The rows of an array (N, ...) of uint8 in an .npy file, in C order.

    The file stays open: the rows remain available when it is removed or replaced.

    Attributes:
        tensor: all rows, (N, ...). The system reads pages of the file at their first use, and may
            drop them again. It must not be written to, which would end the process.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is not a complete .npy file of uint8.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb", buffering=0)
        weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()  # of the position in the file
        shape, fortran_order, dtype = read_header(self._file)
        self._offset = self._file.tell()
        self._row_bytes = math.prod(shape[1:])
        length = self._offset + shape[0] * self._row_bytes
        size = os.fstat(self._file.fileno()).st_size
        if fortran_order or dtype != np.uint8 or size != length:
            raise ValueError(f"{path} is not a complete array of pixels")
        # Shared and read-only: of a private mapping, the system refuses more than its memory.
        self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch has no read-only tensors
            flat = torch.frombuffer(self._map, dtype=torch.uint8, offset=self._offset)
        self.tensor = flat.view(shape)

    def read(self, index: Tensor, into: Tensor) -> None:
        """Copy the rows of `index` (M,) to `into` (M, ...), contiguous and on the CPU.

        It reads the file rather than the mapping: where a mapped file has become shorter, the
        system ends the process without a message. Raises a DitbenchError (exit code 1) if that
        fails.
        """
        places = [self._offset + row * self._row_bytes for row in index.tolist()]
        buffers = into.reshape(len(into), -1).numpy()
        try:
            with self._lock:
                for place in places:
                    announce(self._file, place, self._row_bytes)
                for place, buffer in zip(places, buffers, strict=True):
                    read_at(self._file, place, buffer)
        except OSError as error:
            raise _lost(self.path, error) from error

    def __reduce__(self) -> tuple[object, ...]:
        """Another process opens the file itself."""
        return _opened_again, (self.path, _identity(self._file))

    def forget(self) -> None:
        """Let what was read through `tensor` no longer count as this process's memory."""
        if hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_DONTNEED)


def _opened_again(path: Path, identity: tuple[int, ...]) -> MappedFile:
    """The file that another process has open; a DitbenchError (exit code 1) if it is replaced."""
    try:
        file = MappedFile(path)
        if _identity(file._file) != identity:
            raise OSError("they have changed")
    except (OSError, ValueError) as error:
        raise _lost(path, error) from error
    return file


def _identity(file: IO[bytes]) -> tuple[int, ...]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _lost(path: Path, error: Exception) -> DitbenchError:
    return DitbenchError(
        f"the prepared images in {shown(path)} cannot be read: {reason(error)}",
        "run the same command again: it prepares them again and resumes",
        EXIT_FAILED,
    )


def read_at(file: IO[bytes], place: int, buffer: NDArray[np.uint8]) -> None:
    """Fill a buffer with the bytes of an unbuffered file from a place on. Raises an OSError."""
    file.seek(place)
    if file.readinto(buffer) != len(buffer):  # type: ignore[attr-defined]
        raise OSError("it has become shorter")


def announce(file: IO[bytes], place: int, length: int) -> None:
    """Let the disk begin to read, where the system has a call for it: many places at once."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), place, length, os.POSIX_FADV_WILLNEED)
