"""Plans for the benchmark: random images instead of a dataset, and no metrics."""

from __future__ import annotations

from pathlib import Path

import torch

from ditbench.config import RunConfig
from ditbench.data.dataset import ImageDataset
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.rundir import RunDirectory
from ditbench.runs.planning.plan import Plan, count_cost, plan_run, resolve
from ditbench.seeds import generator

# The height, width and channels of images, and the number of classes.
Shape = tuple[int, int, int, int]
# Enough images for long epochs: each epoch draws a permutation and moves it to the device.
IMAGES = 16_384
# Bytes of images, unless one batch has more.
MAX_BYTES = 2**26
# A batch whose pixels have more bytes than this is a mistake.
MAX_BATCH_BYTES = 2**33


def random_images(height: int, width: int, channels: int, classes: int, least: int) -> ImageDataset:
    """Random pixels and labels, the same in every call; at least `least` images, for one batch.

    A DitbenchError (exit code 1) if a batch does not fit into memory.
    """
    size = height * width * channels
    if least * size > MAX_BATCH_BYTES:
        what = f"a batch of {least:,} images of {height}x{width}x{channels} is too large for memory"
        raise DitbenchError(what, "lower --batch-size", EXIT_FAILED)
    images = max(least, min(IMAGES, MAX_BYTES // size))
    draws = generator(0, "bench", "data")
    return ImageDataset(
        "random",
        torch.randint(256, (images, channels, height, width), generator=draws, dtype=torch.uint8),
        torch.randint(classes, (images,), generator=draws),
        tuple(str(label) for label in range(classes)),
    )


def plan_on(dataset: ImageDataset, config: RunConfig, device: torch.device) -> Plan:
    """A plan on given images; a DitbenchError if they or this machine do not fit the settings.

    Nothing is written to its directory.
    """
    task = resolve(config.with_values(data__name=dataset.name), dataset, device)
    directory = RunDirectory.of(Path("bench"), config.preset, config.block, config.seed, "none")
    return plan_run(task, directory, count_cost(task))
