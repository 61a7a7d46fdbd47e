"""Samples of a finished run: `ditbench sample`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ditbench.config import RunConfig, read_toml, validate
from ditbench.data import load_dataset
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.plugins.lookup import block_errors, restore_block
from ditbench.rundir import RunDirectory
from ditbench.runs.environment import select_device
from ditbench.runs.evaluate import sample_images
from ditbench.runs.grid import first_classes, save_grid
from ditbench.runs.plan import build_model, build_objective
from ditbench.training.checkpoint import load_ema

if TYPE_CHECKING:
    from pathlib import Path

# The most pixels of a grid: 8192 x 8192.
MAX_PIXELS = 2**26


def sample_grid(
    run: Path,
    output: Path,
    *,
    classes: list[int] | None,
    per_class: int,
    settings: dict[str, Any],
    device_name: str,
) -> None:
    """Draw `per_class` images of each class and write them as a PNG grid, one column per class.

    Without classes, these are the first ten. A setting (see `RunConfig.with_values`) that is None
    stays that of the run.

    Raises:
        DitbenchError: no run or checkpoint; an external block is missing or has changed; the data
            do not have a class; the grid is too large; the output cannot be written.
    """
    directory = RunDirectory(run)
    given = {key: value for key, value in settings.items() if value is not None}
    config = _read_config(directory).with_values(**given)
    device = select_device(device_name)
    dataset = load_dataset(config.data.name, config.data.path)
    if classes is None:
        classes = first_classes(dataset.num_classes)
    for label in classes:
        if not 0 <= label < dataset.num_classes:
            raise DitbenchError(
                f"class {label} is not in the data", f"labels are 0 to {dataset.num_classes - 1}"
            )
    count = per_class * len(classes)
    if count * dataset.height * dataset.width > MAX_PIXELS:  # before memory is allocated
        raise DitbenchError(
            f"{count} images of {dataset.width}x{dataset.height} are too many for one grid",
            "draw fewer images: --per-class 8, or --classes 0,1,2",
        )
    objective = build_objective(config)
    sampler = None if config.eval.sampler == "auto" else config.eval.sampler
    objective.check_sampling(sampler, config.eval.sampling_steps)
    with block_errors(config.block, EXIT_FAILED):
        model = build_model(config, dataset, objective, torch.device("cpu"))
        load_ema(directory.checkpoint, model)
        labels = torch.tensor(classes).repeat(per_class)
        images = sample_images(model.to(device).eval(), config, objective, dataset, labels)
    save_grid(output, images, columns=len(classes))


def _read_config(directory: RunDirectory) -> RunConfig:
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
        restore_block(config.block, origin.location, origin.sha256, str(directory.strategy))
    return config
