"""An .npz file of images and labels, as `numpy.savez(path, images=..., labels=...)` writes it."""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.lib import format as npy

from ditbench.data.archive import MAX_FILE_BYTES, ZipFiles, must_exist, shown
from ditbench.data.dataset import ImageDataset
from ditbench.data.decode import MAX_SIDE
from ditbench.data.memory import check_memory
from ditbench.errors import DitbenchError

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    Array = NDArray[Any]

# The header of an array of ours has some hundred bytes; a file may declare one of gigabytes.
MAX_HEADER_BYTES = 2**14
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
LAYOUT = "expected numpy.savez(PATH, images=..., labels=...): uint8 (N, H, W, C), integers (N,)"


class _Entry(NamedTuple):
    """One array of the file, of which only the header is read.

    Attributes:
        where: what an error calls it.
        member: its name in the zip.
        shape: as declared.
        dtype: as declared.
    """

    where: str
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def load_npz(path: Path) -> ImageDataset:
    """Load an .npz file of images and labels.

    It holds `images`, uint8 (N, H, W), (N, H, W, 1) or (N, H, W, 3); `labels`, integers (N,) from 0
    on; and, as one likes, `class_names`, texts, one a class. Without names there are as many
    classes as the largest label says, named by their numbers. Nothing in the file is executed.

    Args:
        path: of the file; the data set bears its name.

    Raises:
        DitbenchError: no such file, not an .npz, an array that is missing, damaged, or of another
            type or shape; sides beyond `decode.MAX_SIDE`, labels that are negative or out of range,
            more than memory holds. Sizes are judged before anything is read.
    """
    path = Path(path)
    must_exist(path)
    with ZipFiles(path, kind=".npz") as files:
        members = set(files.names())
        images = _entry(files, members, "images")
        labels = _entry(files, members, "labels")
        _check_images(path, images)
        _check_labels(labels, images)
        names = _class_names(files, members)
        pixels, classes = _read(files, images), _read(files, labels)
    class_names = names or _numbered(labels.where, classes)
    low, high = int(classes.min()), int(classes.max())
    if low < 0 or high >= len(class_names):
        raise DitbenchError(
            f"{labels.where} are {low}..{high}, expected 0..{len(class_names) - 1}",
            "number the classes from 0, one class name each",
        )
    chw = torch.from_numpy(np.ascontiguousarray(pixels)).reshape(*pixels.shape[:3], -1)
    return ImageDataset(
        name=path.stem,
        images=chw.permute(0, 3, 1, 2).contiguous(),
        labels=torch.from_numpy(classes.astype(np.int64)),
        class_names=class_names,
    )


def _entry(files: ZipFiles, members: set[str], name: str) -> _Entry:
    """Shape and type of an array, by its header."""
    where, member = f"{shown(files.path)}: {name}", f"{name}.npy"
    if member not in members:
        found = ", ".join(sorted(members)) or "nothing"
        raise DitbenchError(f"{where} is missing, the file holds {shown(found)}", LAYOUT)
    try:
        with files.zip.open(member) as file:
            head = BytesIO(file.read(MAX_HEADER_BYTES))
        shape, _, dtype = _HEADERS[npy.read_magic(head)](head)
        if dtype.hasobject or dtype.fields or not _are_sizes(shape):
            raise ValueError("its header is not one of plain numbers or texts")
    except (
        Exception
    ) as error:  # bad stream, password, bad magic, a header that is no Python literal
        raise _damaged(where, error) from error
    # What is read later is what has been judged here, and all that there is.
    if files.zip.getinfo(member).file_size != head.tell() + math.prod(shape) * dtype.itemsize:
        raise _damaged(where, ValueError(f"it is not as long as its shape {_show(shape)} says"))
    return _Entry(where, member, shape, dtype)


def _are_sizes(shape: tuple[Any, ...]) -> bool:
    return all(type(size) is int and size >= 0 for size in shape)


def _read(files: ZipFiles, entry: _Entry) -> Array:
    try:
        with files.zip.open(entry.member) as file:
            array: Array = npy.read_array(file, allow_pickle=False)
    except Exception as error:  # bad stream, or checksum, which is verified at its end
        raise _damaged(entry.where, error) from error
    return array


def _check_images(path: Path, images: _Entry) -> None:
    shape = images.shape
    if images.dtype != np.uint8:
        raise DitbenchError(
            f"{images.where} are {images.dtype}, expected uint8 (0..255)",
            "of numbers from 0 to 1: numpy.rint(255 * images).astype('uint8')",
        )
    if len(shape) not in (3, 4) or 0 in shape or shape[3:] not in ((), (1,), (3,)):
        swapped = len(shape) == 4 and shape[1] in (1, 3)
        raise DitbenchError(
            f"{images.where} have shape {_show(shape)}, expected (N, H, W) or (N, H, W, C), C 1 or "
            "3",
            "bring the channels to the end: images.transpose(0, 2, 3, 1)" if swapped else LAYOUT,
        )
    if max(shape[1:3]) > MAX_SIDE:
        raise DitbenchError(
            f"{images.where} are too large: {shape[2]}x{shape[1]} pixels",
            f"images may be up to {MAX_SIDE}x{MAX_SIDE}: scale them down",
        )
    check_memory(path, shape[0], shape[1:])


def _check_labels(labels: _Entry, images: _Entry) -> None:
    if labels.dtype.kind not in "iu":
        raise DitbenchError(
            f"{labels.where} are {labels.dtype}, expected integers", "labels.astype('int64')"
        )
    if labels.shape != images.shape[:1]:
        raise DitbenchError(
            f"{labels.where} have shape {_show(labels.shape)}, expected ({images.shape[0]},): "
            f"there are {images.shape[0]} images",
            "one label an image, the number of its class",
        )


def _class_names(files: ZipFiles, members: set[str]) -> tuple[str, ...]:
    """The names of the classes; none if the file has none."""
    if "class_names.npy" not in members:
        return ()
    entry = _entry(files, members, "class_names")
    too_long = math.prod(entry.shape) * entry.dtype.itemsize > MAX_FILE_BYTES
    if entry.dtype.kind != "U" or len(entry.shape) != 1 or 0 in entry.shape or too_long:
        raise DitbenchError(
            f"{entry.where} are {entry.dtype} {_show(entry.shape)}, expected texts, one a class",
            "numpy.array(['cat', 'dog', ...])",
        )
    names = tuple(str(name) for name in _read(files, entry))
    if not all(names) or len(set(names)) < len(names):
        raise DitbenchError(f"{entry.where} are empty or not distinct", "name each class once")
    return names


def _numbered(where: str, labels: Array) -> tuple[str, ...]:
    """As many names as the largest label says, in reason."""
    high = int(labels.max())
    if high >= len(labels):  # a class each would be a model of any size
        raise DitbenchError(
            f"{where} go up to {high}, but there are only {len(labels)} images",
            "number the classes from 0 without gaps, or add class_names",
        )
    return tuple(str(number) for number in range(high + 1))


def _show(shape: tuple[int, ...]) -> str:
    return shown(shape)


def _damaged(where: str, error: Exception) -> DitbenchError:
    reason = shown(str(error) or type(error).__name__)
    return DitbenchError(f"{where} cannot be read: {reason}", f"make the file again; {LAYOUT}")
