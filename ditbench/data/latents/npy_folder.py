"""Folders of fast-DiT: an .npy file per latent, and one per label.

`imagenet256_features/0.npy` holds a latent (1, 4, 32, 32), `imagenet256_labels/0.npy` its label
(1,). They are draws from the posteriors of Stable Diffusion's autoencoder, times 0.18215, of images
that were mirrored at random before.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ditbench.data import find_folders
from ditbench.data.class_names import natural
from ditbench.data.io.files import reason, shown
from ditbench.data.latents import SAMPLE
from ditbench.data.latents.found import Found, check_shape
from ditbench.data.latents.rows import FileRows, Piece
from ditbench.data.latents.space import LatentSpace
from ditbench.data.mapped import read_header
from ditbench.data.pictures.settings import Settings
from ditbench.errors import EXIT_FAILED, DitbenchError

SCALING_FACTOR, DOWNSAMPLING = 0.18215, 8  # of Stable Diffusion's autoencoder
DTYPES = {"float16": torch.float16, "float32": torch.float32}
EXPECTED = "expected float16 or float32 (1, C, h, w) in each file, as fast-DiT writes them"


def open_npy_folder(path: Path, settings: Settings) -> Found:
    """The latents of a folder that has two such folders. Raises a DitbenchError for a latent
    without a label, or (exit code 1) a file that is damaged or of another size.
    """
    features, labels = find_folders([each.name for each in path.iterdir()]) or ("", "")
    names = _names(path / features)
    if names != _names(path / labels):
        missing = sorted({*names} ^ {*_names(path / labels)}, key=natural)[0]
        what = f"{shown(path)}: {shown(missing)} is not both in {features} and in {labels}"
        raise DitbenchError(what, "copy the missing files")
    if not names:
        raise DitbenchError(f"{shown(path / features)} holds no .npy files", EXPECTED)
    shape, dtype, head = _header(path / features / names[0])
    size = len(head) + int(np.prod(shape)) * dtype.itemsize
    for name in names:
        if (found := (path / features / name).stat().st_size) != size:
            raise DitbenchError(
                f"{shown(path / features / name)} has {found} bytes, {names[0]} has {size}",
                "it is damaged, or of another shape: encode it again",
                EXIT_FAILED,
            )
    pieces = [Piece(f"{features}/{name}", len(head), 1) for name in names]
    known: Any = {"image_size": DOWNSAMPLING * shape[-1], "scaling_factor": SCALING_FACTOR}
    space = LatentSpace.of_settings(settings, shape, shown(path), kind=SAMPLE, scaled=True, **known)
    return Found(
        path,
        FileRows(path, pieces, shape, dtype, head),
        lambda: torch.cat([_label(path / labels / name) for name in names]),
        space,
        flipped=False,
        files=[f"{folder}/{name}" for name in names for folder in (features, labels)],
    )


def _names(folder: Path) -> list[str]:
    names = (entry.name for entry in os.scandir(folder))
    return sorted((name for name in names if name.endswith(".npy")), key=natural)


def _header(path: Path) -> tuple[tuple[int, ...], torch.dtype, bytes]:
    """The shape (C, h, w) and type of a latent, and the bytes before it."""
    try:
        with path.open("rb") as file:
            shape, fortran_order, dtype = read_header(file)
            length = file.tell()
            file.seek(0)
            head = file.read(length)
    except Exception as error:  # a damaged header raises anything
        raise _damaged(path, error) from error
    where = f"{shown(path)}: {dtype} latents"
    check_shape(where, shape, EXPECTED)
    if shape[0] != 1 or dtype.name not in DTYPES or fortran_order:
        raise DitbenchError(f"{where} have shape {shape}", EXPECTED)
    return shape[1:], DTYPES[dtype.name], head


def _label(path: Path) -> Tensor:
    try:
        label = np.load(path, allow_pickle=False)
        if label.dtype.kind not in "iu" or label.size != 1:
            raise ValueError(f"{label.dtype} {label.shape}, expected one integer")
    except Exception as error:
        raise _damaged(path, error) from error
    return torch.from_numpy(label.astype(np.int64).reshape(1))


def _damaged(path: Path, error: Exception) -> DitbenchError:
    what = f"{shown(path)} cannot be read: {reason(error)}"
    return DitbenchError(what, "encode it again", EXIT_FAILED)
