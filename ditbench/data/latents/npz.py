"""An .npz of latents, as `numpy.savez(path, latents=..., labels=...)` writes it, or of images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ditbench.data import npz
from ditbench.data.dataset import ImageDataset
from ditbench.data.io.files import ZipFiles, must_exist, shown
from ditbench.data.io.limits import check_memory
from ditbench.data.latents.found import Found, check_shape
from ditbench.data.latents.rows import MemoryRows
from ditbench.data.latents.space import LatentSpace
from ditbench.data.pictures.settings import DEFAULTS, Settings
from ditbench.distances import LATENTS
from ditbench.errors import DitbenchError

PLAIN, FLIPPED = "latents", "latents_flip"
EXPECTED = (
    "expected numpy.savez(PATH, latents=..., labels=..., image_size=256, scaling_factor=0.18215): "
    "float16 or float32 (N, C, h, w), integers (N,)"
)


def load_npz(path: Path, settings: Settings = DEFAULTS) -> ImageDataset:
    """An .npz of images, see `ditbench.data.npz`, or of latents; nothing in it is executed.

    Of latents it holds `latents`, float16 or float32 (N, C, h, w); `labels`, integers (N,); and
    optionally `latents_flip`, those of the mirrored images; `class_names`; and the numbers
    `image_size` and `scaling_factor`, which settings give otherwise. Errors are those of
    `read_images`, or for something that neither file nor settings say.
    """
    must_exist(path)
    with ZipFiles(path, kind=".npz") as files:
        members = set(files.names())
        if f"{PLAIN}.npy" not in members:
            return npz.read_images(files, members)
        return _found(files, members, settings).dataset()


def are_latents(source: str, path: Path | None) -> bool:
    """Whether a data set, by its name and path, has latents rather than images."""
    if source != "npz" or path is None:
        return source == LATENTS
    must_exist(path)
    with ZipFiles(path, kind=".npz") as files:
        return f"{PLAIN}.npy" in files.names()


def _found(files: ZipFiles, members: set[str], settings: Settings) -> Found:
    parts: list[torch.Tensor] = []
    shape: tuple[int, ...] = ()
    for name in (PLAIN, FLIPPED):
        if f"{name}.npy" not in members:
            continue
        entry = npz.entry(files, members, name)
        if entry.dtype.name not in ("float16", "float32"):
            raise DitbenchError(f"{entry.where} are {entry.dtype}", EXPECTED)
        check_shape(entry.where, entry.shape, EXPECTED)
        if (shape := shape or entry.shape) != entry.shape:
            raise DitbenchError(f"{entry.where} have shape {entry.shape}, not {shape}", EXPECTED)
        numbers = entry.dtype.itemsize * (1 + (f"{FLIPPED}.npy" in members))
        check_memory(shown(files.path), shape[0] * numbers, shape[1:])
        parts.append(torch.from_numpy(np.ascontiguousarray(npz.read(files, entry))))
    labels = npz.entry(files, members, "labels")
    npz.check_labels(files, labels, shape[0])
    classes = torch.from_numpy(npz.read(files, labels).astype(np.int64))
    known = dict(_numbers(files, members))
    space = LatentSpace.of_settings(settings, shape[1:], shown(files.path), **known)
    rows = MemoryRows(torch.cat(parts))
    names = npz.class_names(files, members)
    return Found(files.path, rows, lambda: classes, space, len(parts) > 1, names)


def _numbers(files: ZipFiles, members: set[str]) -> Iterator[tuple[str, Any]]:
    """The numbers in the file that say what latents are."""
    for name in ("image_size", "scaling_factor"):
        if f"{name}.npy" in members:
            entry = npz.entry(files, members, name)
            if entry.shape not in ((), (1,)) or entry.dtype.kind not in "iuf":
                what = f"{entry.where} is {entry.dtype} {entry.shape}, expected one number"
                raise DitbenchError(what, EXPECTED)
            number = float(npz.read(files, entry).reshape(()))
            if not 0 < abs(number) < 1e6 or (name == "image_size" and number != int(number)):
                raise DitbenchError(f"{entry.where} is {number:g}", EXPECTED)
            yield name, int(number) if name == "image_size" else number
