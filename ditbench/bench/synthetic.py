"""Runs to be timed: random images in the place of a data set, and no metrics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ditbench.data.dataset import ImageDataset
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.models.cost import count
from ditbench.rundir import RunDirectory
from ditbench.runs.parts import create_configured_objective, model_arguments
from ditbench.runs.plan import Plan, resolve
from ditbench.seeds import generator
from ditbench.training.budget import create_budget
from ditbench.training.compile_choice import NOT_COMPILED, Compiling

if TYPE_CHECKING:
    from ditbench.config import RunConfig

# As many images as make epochs long: the order of each is drawn anew, and moved to the device.
IMAGES = 16_384
# ... as long as they are no burden.
BYTES = 2**26
# A batch of which the pixels alone are more than this is a mistake.
MOST_BYTES = 2**33


def random_images(height: int, width: int, channels: int, classes: int, least: int) -> ImageDataset:
    """Random pixels and labels, the same ones every time.

    Args:
        height: H of the images.
        width: W.
        channels: C, any number.
        classes: from which labels are drawn.
        least: images that are needed, those of a batch.

    Raises:
        DitbenchError: exit code 1, when so many do not fit in memory.
    """
    size = height * width * channels
    if least * size > MOST_BYTES:
        raise DitbenchError(
            f"a batch of {least:,} images of {height}x{width}x{channels} is too large for memory",
            "lower --batch-size",
            EXIT_FAILED,
        )
    images = max(least, min(IMAGES, BYTES // size))
    draws = generator(0, "bench", "data")
    return ImageDataset(
        "random",
        torch.randint(256, (images, channels, height, width), generator=draws, dtype=torch.uint8),
        torch.randint(classes, (images,), generator=draws),
        tuple(str(label) for label in range(classes)),
    )


def plan_on(
    dataset: ImageDataset,
    config: RunConfig,
    device: torch.device,
    compiling: Compiling = NOT_COMPILED,
) -> Plan:
    """A plan on images that are at hand; its directory is a name that nothing is written to.

    Raises:
        DitbenchError: an unknown block or objective, a patch size that does not divide the images,
            a sampler that the objective does not have.
    """
    objective = create_configured_objective(config)
    config = resolve(config.with_values(data__name=dataset.name), dataset, objective, device)
    cost = count(**model_arguments(config, dataset, objective))
    directory = RunDirectory.of(Path("bench"), config.preset, config.block, config.seed, "none")
    budget = create_budget(config, cost)
    return Plan(config, directory, cost, dataset, objective, device, budget, compiling)
