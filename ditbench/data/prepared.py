"""Pictures of any size and mode as one array of pixels, which is cached on disk.

The cache of a folder or zip is two files: `prepared-<key>.npy`, uint8 (N, C, H, W), and
`prepared-<key>.json`, which says what it was made from, and is written last.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ditbench.data.dataset import ImageDataset
from ditbench.data.settings import DEFAULTS, Settings


def prepared(path: Path, settings: Settings = DEFAULTS) -> ImageDataset:
    """The images of a folder or a zip; decoded, or read from the cache."""
    raise NotImplementedError


def open_pixels(path: Path, *, mapped: bool) -> Tensor:
    """The pixels in an .npy file, uint8 (N, C, H, W): in memory, or mapped (private, not written)."""
    pixels = np.load(path, mmap_mode="c" if mapped else None, allow_pickle=False)
    return torch.from_numpy(pixels)
