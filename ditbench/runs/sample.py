"""Grids of samples as PNG files, one column per class; `ditbench sample`."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ditbench.config import RunConfig, read_toml, validate
from ditbench.data import load_dataset, recorded
from ditbench.data.class_names import find_classes
from ditbench.data.dataset import ImageDataset
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.files import read_json, write_atomically
from ditbench.models.dit import DiT
from ditbench.plugins.lookup import block_errors, restore_block
from ditbench.rundir import RunDirectory
from ditbench.runs.environment import select_device
from ditbench.runs.evaluate import Evaluation, sample_images
from ditbench.runs.plan import Task, build_model, build_objective
from ditbench.runs.ready import check_writable
from ditbench.training.checkpoint import load_ema

# The most pixels of a grid: 8192 x 8192.
MAX_PIXELS = 2**26
# Smaller images are enlarged to at least this width, in pixels.
MIN_TILE = 48
GAP = 2
WHITE = 255
# The grid of an evaluation: images per class, and classes.
GRID_ROWS = 8
GRID_COLUMNS = 10


def sample_grid(
    run: Path,
    output: Path,
    *,
    classes: list[str] | None,
    per_class: int,
    settings: dict[str, Any],
    device_name: str,
    trust: bool = False,
) -> list[str]:
    """Draw `per_class` images of each class and write them as a PNG grid, one column per class.

    Classes are names or labels, see `find_classes`; without any, these are the first ten. A setting
    (see `RunConfig.with_values`) that is None stays that of the run. `trust` is needed to execute
    the copy of an external block in the run. Returns the names of the classes.

    Raises:
        DitbenchError: no run or checkpoint; an external block is missing or has changed; the run
            does not have a class; the grid is too large; the output cannot be written.
    """
    directory = RunDirectory(run)
    given = {key: value for key, value in settings.items() if value is not None}
    trained = _read_config(directory, trust=trust)
    config = trained.with_values(**{"eval__sampling_steps": trained.eval.steps_of_final} | given)
    device = select_device(device_name)
    dataset, changed = _images(directory, config)
    if classes is None:
        labels = first_classes(dataset.num_classes)
    else:
        labels = find_classes(classes, dataset.class_names)
    count = per_class * len(labels)
    if count * dataset.height * dataset.width > MAX_PIXELS:  # before memory is allocated
        raise DitbenchError(
            f"{count} images of {dataset.width}x{dataset.height} are too many for one grid",
            "draw fewer images: --per-class 8, or --classes 0,1,2",
        )
    objective = build_objective(config)
    sampler = None if config.eval.sampler == "auto" else config.eval.sampler
    objective.check_sampling(sampler, config.eval.sampling_steps)
    task = Task(config, dataset, objective, device)
    check_writable(output)
    with block_errors(config.block, EXIT_FAILED):
        model = build_model(task).eval()
        try:
            load_ema(directory.checkpoint, model)
        except DitbenchError as error:
            if not changed:
                raise
            raise DitbenchError(  # changed images are the likely reason
                f"the images have changed since {directory.path} was trained, and the version that "
                "trained it did not record their shape and classes",
                "restore the images at the path in its config.toml",
            ) from error
        images = sample_images(model, task, torch.tensor(labels).repeat(per_class))
    save_grid(output, images, columns=len(labels))
    return [dataset.class_names[label] for label in labels]


def _images(directory: RunDirectory, config: RunConfig) -> tuple[ImageDataset, bool]:
    """A data set with the shape and classes of a run: from env.json, so that images may be gone.

    Earlier versions did not record them: the images are then loaded. The second value is whether
    these have changed since; their classes then have numbers for names.
    """
    facts: dict[str, Any] = {}
    with suppress(DitbenchError):  # a missing or damaged file
        facts = read_json(directory.environment)
    if recorded.RECORD in facts:
        return recorded.stand_in(config.data.name, facts[recorded.RECORD]), False
    dataset = load_dataset(config.data.name, config.data.path, config.data.settings)
    if config.data.digest in ("auto", dataset.digest):
        return dataset, False
    return replace(dataset, class_names=tuple(map(str, range(dataset.num_classes)))), True


def _read_config(directory: RunDirectory, *, trust: bool) -> RunConfig:
    if not directory.config.is_file():
        raise DitbenchError(
            f"{directory.path} is not a run directory: it has no config.toml",
            "give a directory that `ditbench run` printed",
        )
    if not directory.checkpoint.is_file():
        raise DitbenchError(
            f"{directory.path} has no checkpoint",
            "reference runs have none; train your own with `ditbench run`",
        )
    config = validate(read_toml(directory.config))
    origin = config.strategy
    if origin.location is not None and origin.sha256 is not None:
        copy = directory.strategy
        restore_block(config.block, origin.location, origin.sha256, copy, trust=trust)
    return config


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
    images = torch.stack([images[:rows] for images in of_class], dim=1)
    if task.world.first:
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
    scale = math.ceil(MIN_TILE / images.shape[-1])
    images = images.expand(-1, 3, -1, -1)
    images = images.repeat_interleave(scale, dim=-2).repeat_interleave(scale, dim=-1)
    # Each tile includes its gap, so that all rows have the same height in pixels.
    images = torch.nn.functional.pad(images, (0, GAP, 0, GAP), value=WHITE)
    M, C, H, W = images.shape
    rows = M // columns
    grid = images[: rows * columns].view(rows, columns, C, H, W).permute(0, 3, 1, 4, 2)
    return grid.reshape(rows * H, columns * W, C).contiguous()
