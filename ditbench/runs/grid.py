"""Grids of samples as PNG: one column a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from ditbench.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

# Tiny images are enlarged, so that a grid can be looked at.
MIN_TILE = 48
GAP = 2
WHITE = 255
# The grid of a run: so many images of each of the first classes.
GRID_ROWS = 8
GRID_COLUMNS = 10


def first_classes(num_classes: int) -> list[int]:
    """The classes that a grid shows when nobody chose: the first ten, or all."""
    return list(range(min(num_classes, GRID_COLUMNS)))


def arrange(images: Tensor, labels: Tensor, classes: list[int], rows: int) -> Tensor:
    """The first `rows` images of each class, row by row: (rows * columns, C, H, W).

    A class with fewer than `rows` images shortens the grid for all.
    """
    of_class = [images[labels == label][:rows] for label in classes]
    rows = min(len(images) for images in of_class)
    return torch.stack([images[:rows] for images in of_class], dim=1).flatten(0, 1)


def save_grid(path: Path, images: Tensor, columns: int) -> None:
    """Write uint8 images (M, C, H, W), C 1 or 3, as a grid with `columns` columns.

    Raises:
        DitbenchError: exit code 1, when the file cannot be written.
    """
    picture = Image.fromarray(tile(images, columns).numpy())
    write_atomically(path, lambda file: picture.save(file, format="PNG"))


def tile(images: Tensor, columns: int) -> Tensor:
    """Lay images (M, C, H, W) out in a grid with gaps: (height, width, 3) uint8."""
    scale = -(-MIN_TILE // images.shape[-1]) if images.shape[-1] < MIN_TILE else 1
    images = images.expand(-1, 3, -1, -1)
    images = images.repeat_interleave(scale, dim=-2).repeat_interleave(scale, dim=-1)
    # The gap is part of every tile, so that a row is an exact share of the grid's height.
    images = torch.nn.functional.pad(images, (0, GAP, 0, GAP), value=WHITE)
    M, C, H, W = images.shape
    rows = M // columns
    grid = images[: rows * columns].view(rows, columns, C, H, W).permute(0, 3, 1, 4, 2)
    return grid.reshape(rows * H, columns * W, C).contiguous()
