"""An estimate of the memory that a run needs on a GPU, and the settings with which it fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ditbench.models.kept import Kept, count_kept
from ditbench.runs.planning.plan import count_cost, model_arguments
from ditbench.runs.planning.task import Task
from ditbench.training.batches import SHARE

# Bytes per parameter. The state is the weight, AdamW's two moments and the average, in float32.
STATE, GRADIENT, HALF = 16, 4, 2
# What a block's backward pass, or its forward pass in sampling, needs for a time, as a share of
# what the block keeps in training.
TEMPORARY = 0.5
# The share of a card that a run may take: CUDA, and gaps between tensors, take the rest.
USABLE = 0.9
# The fewest images at a time before blocks are computed again: products of fewer are slow.
FEWEST = 8


@dataclass(frozen=True)
class Memory:
    """What one GPU holds in a run, in bytes."""

    parameters: int  # their number
    fixed: Kept  # for any number of images: weights in half precision
    per_image: Kept
    half: bool
    gpus: int

    def training(self, images: int, parts: int, *, again: bool) -> int:
        """The peak of a step: so many images at a time, in parts, blocks computed again or not."""
        state = STATE + (GRADIENT if self.gpus > 1 else 0)  # buckets in which gradients are added
        around, blocks, block = self.fixed.plus(images, self.per_image)
        inside = round((1 + TEMPORARY) * block) if again else blocks
        # The gradients of a step replace what is kept, unless an earlier part has made them.
        first = (GRADIENT if parts > 1 else 0) * self.parameters + around + inside
        last = GRADIENT * self.parameters + round((1 + TEMPORARY) * block)
        return state * self.parameters + max(first, last)

    def sampling(self, rows: int) -> int:
        """What sampling so many rows of a batch takes, beside what training holds."""
        weights = HALF * self.parameters if self.half else 0
        return weights + round(rows * TEMPORARY * self.per_image.block)


def count_memory(task: Task, precision: str | None = None) -> Memory:
    """Count what a task needs, in a `precision` in the place of its own; see `count_cost`."""
    train = task.config.train
    half = (precision or train.precision) != "fp32"
    arguments, fused = model_arguments(task), train.backend != "plain"
    one, two = (count_kept(arguments, images, half=half, fused=fused) for images in (1, 2))
    per_image = two.plus(-1, one)
    fixed, parameters = one.plus(-1, per_image), count_cost(task).parameters
    return Memory(parameters, fixed, per_image, half, task.world.size)


def peak_memory(task: Task, precision: str | None = None) -> int:
    """About how many bytes a run needs on its GPU, or on each of several; see `count_cost`.

    Training: weights, the optimizer's state, the average, and what autograd keeps of the images
    that are computed at once. Sampling comes in addition, because a CUDA graph keeps its memory.
    Neither the images of the data set, which stay on the GPU where a quarter of it holds them, nor
    extractors of features and decoders are counted.
    """
    train = task.config.train
    return _peak(task, count_memory(task, precision), train.micro_batch, train.checkpoint_blocks)


def what_fits(task: Task, card: int, precision: str | None = None) -> dict[str, Any] | None:
    """The settings with which a run fits on a card of so many bytes.

    Empty, if it fits as it is. Smaller parts of a batch come first, because they cost little time;
    then computing blocks again. None if neither is enough.
    """
    memory, train = count_memory(task, precision), task.config.train
    images = task.dataset.images.nbytes
    on_card = images <= SHARE * (card - STATE * memory.parameters)  # see `training.batches`
    room = USABLE * card - (images if on_card else 0)
    if _peak(task, memory, train.micro_batch, train.checkpoint_blocks) <= room:
        return {}
    for again in (False, True):
        images = -(-train.batch_size // task.world.size)
        while images > (1 if again else FEWEST):
            images = -(-images // 2)
            if _peak(task, memory, images, again) <= room:
                recompute = {"train.checkpoint_blocks": True} if again else {}
                return {"train.micro_batch": images} | recompute
    return None


def _peak(task: Task, memory: Memory, micro_batch: int | None, again: bool) -> int:  # noqa: FBT001
    train, evaluation = task.config.train, task.config.eval
    part = -(-train.batch_size // memory.gpus)
    images = min(part, micro_batch or part)
    rows = -(-min(evaluation.batch_size, evaluation.samples) // memory.gpus)
    rows *= 1 if evaluation.cfg_scale == 1 else 2
    parts = -(-part // images)
    return memory.training(images, parts, again=again) + memory.sampling(rows)
