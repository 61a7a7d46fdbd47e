"""Grids of samples as PNG files, one column per class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from ditbench.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

# Smaller images are enlarged to at least this width, in pixels.
MIN_TILE = 48
GAP = 2
WHITE = 255
# The grid of an evaluation: images per class, and classes.
GRID_ROWS = 8
GRID_COLUMNS = 10


def first_classes(num_classes: int) -> list[int]:
    """The classes that a grid shows by default: the first ten, or all."""
    return list(range(min(num_classes, GRID_COLUMNS)))


def save_run_grid(path: Path, samples: Tensor, labels: Tensor, num_classes: int) -> None:
    """Write the grid of an evaluation, with as many rows as each class has images."""
    of_class = [samples[labels == label][:GRID_ROWS] for label in first_classes(num_classes)]
    rows = min(map(len, of_class))
    images = torch.stack([images[:rows] for images in of_class], dim=1)
    save_grid(path, images.flatten(0, 1), columns=len(of_class))


def save_grid(path: Path, images: Tensor, columns: int) -> None:
    """Write uint8 images (M, C, H, W), with C 1 or 3, as a PNG with so many columns.

    Raises:
        DitbenchError: exit code 1, if the file cannot be written.
    """
    picture = Image.fromarray(_tile(images, columns).numpy())
    write_atomically(path, lambda file: picture.save(file, format="PNG"))


def _tile(images: Tensor, columns: int) -> Tensor:
    """Arrange images (M, C, H, W) in a grid with gaps: (height, width, 3) uint8."""
    scale = -(-MIN_TILE // images.shape[-1]) if images.shape[-1] < MIN_TILE else 1
    images = images.expand(-1, 3, -1, -1)
    images = images.repeat_interleave(scale, dim=-2).repeat_interleave(scale, dim=-1)
    # Each tile includes its gap, so that all rows have the same height in pixels.
    images = torch.nn.functional.pad(images, (0, GAP, 0, GAP), value=WHITE)
    M, C, H, W = images.shape
    rows = M // columns
    grid = images[: rows * columns].view(rows, columns, C, H, W).permute(0, 3, 1, 4, 2)
    return grid.reshape(rows * H, columns * W, C).contiguous()
