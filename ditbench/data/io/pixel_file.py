"""Pixels that are written to a file while they are decoded, where memory is too small for them."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.files import TEMPORARY, cache_directory, make_directory


class PixelFile:
    """A new .npy file in the cache, mapped for writing, whose space is reserved.

    Without that, a full disk would end the process when a page is written.

    Attributes:
        path: the file, which has a temporary name.
        pixels: uint8 (N, C, H, W), all 0 at first.

    Raises:
        DitbenchError: exit code 1, there is no cache or too little space in it.
    """

    def __init__(self, where: str, shape: tuple[int, ...]) -> None:
        size, directory = math.prod(shape), cache_directory()
        what = (
            f"{where} is too large: {shape[0]} images of {shape[-1]}x{shape[-2]} need "
            f"{size / 2**30:.1f} GiB, more than memory holds, and "
        )
        hint = "name a disk with space: set DITBENCH_CACHE; or make the images smaller"
        if directory is None:
            raise DitbenchError(f"{what}there is no cache directory", hint, EXIT_FAILED)
        try:
            make_directory(directory)
            if shutil.disk_usage(directory).free < size:
                raise OSError("too little space")
            descriptor, name = tempfile.mkstemp(".npy", TEMPORARY, directory)
            os.close(descriptor)
            self.path = Path(name)
            try:
                self.pixels = npy.open_memmap(name, "w+", np.uint8, shape)
                if hasattr(os, "posix_fallocate"):
                    with self.path.open("r+b") as file:
                        os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
            except OSError:
                self.remove()
                raise
        except OSError as error:
            raise DitbenchError(f"{what}{directory}: {error}", hint, EXIT_FAILED) from error

    def finish(self, count: int, path: Path) -> None:
        """Keep the first `count` images, and move the file to `path`. Raises an OSError."""
        shape = (count, *self.pixels.shape[1:])
        self.pixels.flush()
        with self.path.open("r+b") as file:  # numpy leaves room in the header for any N
            facts = {"descr": "|u1", "fortran_order": False, "shape": shape}
            npy.write_array_header_1_0(file, facts)
            file.truncate(file.tell() + math.prod(shape))
            os.fsync(file.fileno())
        self.path.chmod(0o644)
        self.path.replace(path)

    def remove(self) -> None:
        """Remove the file, if it has not been moved."""
        self.path.unlink(missing_ok=True)
