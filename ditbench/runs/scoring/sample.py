"""Grids of samples as PNG files, one column per class; `ditbench sample`."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import torch
from PIL import Image
from torch import Tensor

from ditbench.data.class_names import find_classes
from ditbench.errors import LESS_MEMORY, DitbenchError
from ditbench.files import write_atomically, write_output
from ditbench.models.dit import DiT
from ditbench.runs.machine.runtime_errors import sampling_errors
from ditbench.runs.planning.ready import check_writable
from ditbench.runs.planning.task import Task
from ditbench.runs.scoring.evaluate import Evaluation
from ditbench.runs.scoring.sampling import sample_images
from ditbench.runs.scoring.scored import as_pictures, scored_as
from ditbench.runs.scoring.trained import Opened, averaged_model

MAX_PIXELS = 2**26  # the most pixels of a grid: 8192 x 8192
# Smaller images are enlarged to at least this width, in pixels.
MIN_TILE = 48
GAP = 2
WHITE = 255
# The grid of an evaluation: images per class, and classes.
GRID_ROWS = 8
GRID_COLUMNS = 10


def sample_grid(
    opened: Opened, output: Path, *, classes: list[str] | None, per_class: int
) -> list[str]:
    """Draw `per_class` images of each class and write them as a PNG grid, one column per class.

    Classes are names or labels, see `find_classes`; without any, these are the first ten. Returns
    the names of the classes. Raises a DitbenchError if weights do not fit, or the grid is too
    large.
    """
    task, directory = opened
    dataset = scored_as(task.config, task.dataset)
    if classes is None:
        labels = first_classes(dataset.num_classes)
    else:
        labels = find_classes(classes, dataset.class_names)
    count = per_class * len(labels)
    if count * dataset.height * dataset.width > MAX_PIXELS:  # before memory is allocated
        what = f"{count} images of {dataset.width}x{dataset.height} are too many for one grid"
        raise DitbenchError(what, "draw fewer images: --per-class 8, or --classes 0,1,2")
    check_writable(output)
    with sampling_errors(task, LESS_MEMORY):
        model, _ = averaged_model(task, directory)
        samples = sample_images(model, task, torch.tensor(labels).repeat(per_class))
        images = as_pictures(task, samples)
    save_grid(output, images, columns=len(labels), write=write_output)
    return [dataset.class_names[label] for label in labels]


def first_classes(num_classes: int) -> list[int]:
    """The classes that a grid shows by default: the first ten, or all."""
    return list(range(min(num_classes, GRID_COLUMNS)))


def save_run_grid(task: Task, model: DiT, evaluation: Evaluation, path: Path) -> None:
    """Write the grid of an evaluation, with as many rows as each class has images."""
    samples, labels = evaluation.samples, evaluation.labels
    classes = first_classes(task.dataset.num_classes)
    if task.config.eval.labels == "data":  # few of some class may have been scored
        labels = torch.tensor(classes).repeat(GRID_ROWS)
        samples = sample_images(model, task, labels)
    of_class = [samples[labels == label][:GRID_ROWS] for label in classes]
    rows = min(map(len, of_class))
    chosen = torch.stack([samples[:rows] for samples in of_class], dim=1).flatten(0, 1)
    images = as_pictures(task, chosen)
    if task.world.first:
        save_grid(path, images, columns=len(of_class))


def save_grid(
    path: Path,
    images: Tensor,
    columns: int,
    write: Callable[[Path, Callable[[BinaryIO], object]], None] = write_atomically,
) -> None:
    """Write uint8 images (M, C, H, W), with C 1 or 3, as a PNG with so many columns. Raises a
    DitbenchError (exit code 1) if the file cannot be written.
    """
    picture = Image.fromarray(_tile(images, columns).numpy())
    write(path, lambda file: picture.save(file, format="PNG"))


def _tile(images: Tensor, columns: int) -> Tensor:
    """Arrange images (M, C, H, W) in a grid with gaps: (height, width, 3) uint8."""
    scale = math.ceil(MIN_TILE / images.shape[-1])
    images = images.expand(-1, 3, -1, -1)
    images = images.repeat_interleave(scale, dim=-2).repeat_interleave(scale, dim=-1)
    # Each tile includes its gap, so that all rows have the same height in pixels.
    images = torch.nn.functional.pad(images, (0, GAP, 0, GAP), value=WHITE)
    M, C, H, W = images.shape
    rows = M // columns
    grid = images[: rows * columns].view(rows, columns, C, H, W).permute(0, 3, 1, 4, 2)
    return grid.reshape(rows * H, columns * W, C).contiguous()
