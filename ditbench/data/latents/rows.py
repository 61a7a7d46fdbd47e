"""Rows of latents: in memory, or in many files that may be larger than memory."""

from __future__ import annotations

import math
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from ditbench.data.io.files import reason, shown
from ditbench.data.mapped import announce, read_at
from ditbench.errors import EXIT_FAILED, DitbenchError

# Files that stay open, and rows that the disk is asked for at once: of a file each, at worst.
OPEN, AT_ONCE = 256, 128


class MemoryRows:
    """Rows of a tensor (R, C or 2C, h, w). Mirrored copies are rows, too."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.shape, self.dtype = tensor, tuple(tensor.shape), tensor.dtype

    def read(self, index: Tensor, into: Tensor) -> None:
        """Copy the rows of `index`."""
        torch.index_select(self.tensor, 0, index, out=into)

    def forget(self) -> None:
        """Nothing is in a file."""


@dataclass(frozen=True, slots=True)  # there may be millions
class Piece:
    """Consecutive rows in a file, in C order, from a byte on."""

    name: str  # below the folder
    offset: int
    rows: int


class FileRows:
    """The rows of pieces of files below a folder, one piece after the other.

    They are read rather than mapped: where a mapped file has become shorter, the system ends the
    process without a message. Few files stay open. `head` is what each file begins with.
    """

    def __init__(
        self,
        folder: Path,
        pieces: Sequence[Piece],
        shape: tuple[int, ...],
        dtype: torch.dtype,
        head: bytes = b"",
    ) -> None:
        self.folder, self.pieces, self.dtype, self.head = folder, pieces, dtype, head
        self._starts = [0, *accumulate(piece.rows for piece in pieces)]
        self.shape = (self._starts[-1], *shape)
        self._row_bytes = math.prod(shape) * dtype.itemsize
        self._open: OrderedDict[str, IO[bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, index: Tensor, into: Tensor) -> None:
        """Copy the rows of `index`; a DitbenchError (exit code 1) if a file is not what it was."""
        runs = self._runs(index.tolist())
        buffer = into.reshape(-1).view(torch.uint8).numpy()
        name, start = "", 0
        try:
            with self._lock:
                for first in range(0, len(runs), AT_ONCE):
                    some = runs[first : first + AT_ONCE]
                    for name, place, length in some:
                        announce(self._file(name), place, length)
                    for name, place, length in some:
                        read_at(self._file(name), place, buffer[start : start + length])
                        start += length
        except OSError as error:
            raise DitbenchError(
                f"the latents in {shown(self.folder / name)} cannot be read: "
                f"{error.strerror or reason(error)}",
                "restore the file; the same command then resumes",
                EXIT_FAILED,
            ) from error

    def forget(self) -> None:
        """What was read is not kept."""

    def __reduce__(self) -> tuple[object, ...]:
        """Files and locks do not go to other processes."""
        known = (self.folder, self.pieces, self.shape[1:], self.dtype, self.head)
        return type(self), known

    def _runs(self, rows: list[int]) -> list[tuple[str, int, int]]:
        """Where rows are: a file, a place in it, and the bytes of rows that follow each other."""
        runs: list[tuple[str, int, int]] = []
        for row in rows:
            name, place = self._place(row)
            if runs and runs[-1][0] == name and sum(runs[-1][1:]) == place:
                runs[-1] = (*runs[-1][:2], runs[-1][2] + self._row_bytes)
            else:
                runs.append((name, place, self._row_bytes))
        return runs

    def _place(self, row: int) -> tuple[str, int]:
        """The file of a row, and where it begins there."""
        number = bisect_right(self._starts, row) - 1
        piece = self.pieces[number]
        return piece.name, piece.offset + (row - self._starts[number]) * self._row_bytes

    def _file(self, name: str) -> IO[bytes]:
        if name in self._open:
            self._open.move_to_end(name)
            return self._open[name]
        file = (self.folder / name).open("rb", buffering=0)
        if self.head and file.read(len(self.head)) != self.head:
            file.close()
            raise OSError("it has another header than the first file: another shape or type")
        self._open[name] = file
        if len(self._open) > OPEN:
            self._open.popitem(last=False)[1].close()
        return file


LatentRows = MemoryRows | FileRows
