"""An .npz file of images and labels, as `numpy.savez(path, images=..., labels=...)` writes it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray

from ditbench.data.class_names import names_of
from ditbench.data.dataset import ImageDataset
from ditbench.data.io import conversions
from ditbench.data.io.files import ZipFiles, reason, shown
from ditbench.data.io.limits import (
    MAX_FILE_BYTES,
    MAX_SIDE,
    check_memory,
    machine_memory,
    too_large,
)
from ditbench.data.mapped import read_header
from ditbench.errors import DitbenchError

# The header of such an array has about a hundred bytes; a file may declare one of gigabytes.
MAX_HEADER_BYTES = 2**14
LAYOUT = "expected numpy.savez(PATH, images=..., labels=...): uint8 (N, H, W, C), integers (N,)"


class Entry(NamedTuple):
    """The header of an array in the file."""

    where: str  # its name in messages
    member: str  # its name in the zip
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def read_images(files: ZipFiles, members: set[str]) -> ImageDataset:
    """The images and labels of an .npz file; nothing in the file is executed.

    It holds `images`, uint8 (N, H, W), (N, H, W, 1) or (N, H, W, 3); `labels`, integers (N,) from 0
    on; and optionally `class_names`, one string per class. Without names, the largest label sets
    the number of classes, and their names are their numbers. The file's name names the data set.
    Raises a DitbenchError for an array that is missing, damaged or of another type or shape, sides
    beyond `MAX_SIDE`, or more than memory holds: sizes are checked before any array is read.
    """
    images, labels = entry(files, members, "images"), entry(files, members, "labels")
    _check_images(files, images)
    check_labels(files, labels, images.shape[0])
    names = class_names(files, members)
    pixels, classes = read(files, images), read(files, labels)
    names = names_of(names, classes.tolist(), labels.where)
    nhwc = torch.from_numpy(np.ascontiguousarray(pixels)).reshape(*pixels.shape[:3], -1)
    nchw = nhwc.permute(0, 3, 1, 2).contiguous()
    name = files.path.name.removesuffix(".npz")
    return ImageDataset(name, nchw, torch.from_numpy(classes.astype(np.int64)), names)


@contextmanager
def _open(files: ZipFiles, where: str, member: str) -> Iterator[IO[bytes]]:
    """Open an array; any exception while it is read becomes a DitbenchError."""
    try:
        with files.zip.open(member) as file:
            yield file
    except Exception as error:  # a damaged stream, header or checksum raises anything
        what = f"{where} cannot be read: {reason(error)}"
        raise DitbenchError(what, f"save the file again; {LAYOUT}") from error


def entry(files: ZipFiles, members: set[str], name: str) -> Entry:
    """Read the shape and type of an array from its header."""
    where, member = f"{shown(files.path)}: {name}", f"{name}.npy"
    if member not in members:
        found = ", ".join(sorted(members)) or "nothing"
        raise DitbenchError(f"{where} is missing, the file holds {shown(found)}", LAYOUT)
    with _open(files, where, member) as file:
        head = BytesIO(file.read(MAX_HEADER_BYTES))
        shape, _, dtype = read_header(head)
        sizes = all(type(size) is int and size >= 0 for size in shape)
        if dtype.hasobject or dtype.fields or not sizes:
            raise ValueError("its header does not describe plain numbers or strings")
        # Exactly the size that was checked here is read later.
        if files.zip.getinfo(member).file_size != head.tell() + math.prod(shape) * dtype.itemsize:
            raise ValueError(f"its length does not match its shape {shown(shape)}")
    return Entry(where, member, shape, dtype)


def read(files: ZipFiles, found: Entry) -> NDArray[Any]:
    """The numbers of an array. Raises a DitbenchError if it is damaged."""
    with _open(files, found.where, found.member) as file:
        array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
    return array


def _check_images(files: ZipFiles, images: Entry) -> None:
    shape = images.shape
    if images.dtype != np.uint8:
        raise DitbenchError(
            f"{images.where} are {images.dtype}, expected uint8 (0..255)",
            conversions.of_pixels(read(files, images)) if _is_small(images, "biuf") else LAYOUT,
        )
    if len(shape) not in (3, 4) or 0 in shape or shape[3:] not in ((), (1,), (3,)):
        hint = LAYOUT
        if len(shape) == 4 and shape[1] in (1, 3):
            hint = "move the channels to the end: images.transpose(0, 2, 3, 1)"
        elif len(shape) == 4 and shape[3] == 4:
            hint = conversions.RGBA
        raise DitbenchError(
            f"{images.where} have shape {shown(shape)}, expected (N, H, W), (N, H, W, 1) or "
            "(N, H, W, 3)",
            hint,
        )
    if max(shape[1:3]) > MAX_SIDE:
        raise too_large(images.where, f"{shape[2]}x{shape[1]} pixels")
    check_memory(shown(files.path), shape[0], (*shape[3:], *shape[1:3]))


def check_labels(files: ZipFiles, labels: Entry, count: int) -> None:
    """Raise a DitbenchError unless labels are `count` integers, from the header alone."""
    if labels.dtype.kind not in "iu":
        what = f"{labels.where} are {labels.dtype}, expected integers"
    elif labels.shape != (count,):
        what = (
            f"{labels.where} have shape {shown(labels.shape)}, expected ({count},), one per image"
        )
    else:
        return
    small = _is_small(labels, "biufUS")
    raise DitbenchError(what, conversions.of_labels(read(files, labels)) if small else LAYOUT)


def _is_small(entry: Entry, kinds: str) -> bool:
    """Whether an array is of one of some kinds and not empty, and memory holds it for a hint."""
    size = math.prod(entry.shape) * entry.dtype.itemsize
    return entry.dtype.kind in kinds and 0 < 2 * size <= machine_memory()


def class_names(files: ZipFiles, members: set[str]) -> tuple[str, ...]:
    """The names of the classes; empty if the file has none."""
    if "class_names.npy" not in members:
        return ()
    found = entry(files, members, "class_names")
    too_long = math.prod(found.shape) * found.dtype.itemsize > MAX_FILE_BYTES
    if found.dtype.kind != "U" or len(found.shape) != 1 or 0 in found.shape or too_long:
        raise DitbenchError(
            f"{found.where} are {found.dtype} {shown(found.shape)}, expected one string per class",
            "save them as numpy.array(['cat', 'dog', ...])",
        )
    names = tuple(str(name) for name in read(files, found))
    if not all(names) or len(set(names)) < len(names):
        what = f"{found.where} are empty or not distinct"
        raise DitbenchError(what, "give each class a name of its own")
    return names
