"""Batches of images and labels, in an order that depends only on the seed and the step."""

from __future__ import annotations

import torch
from torch import Tensor

from ditbench.data.dataset import ImageDataset
from ditbench.data.io.limits import machine_memory
from ditbench.seeds import generator
from ditbench.training.sources import OnDevice, Streamed, mirrored

# The share of the free memory of a device that images may take.
SHARE = 0.25
WHOLE = slice(None)


class Batches:
    """Endless random permutations of the dataset, split into batches. No image is skipped.

    A batch is a function of the seed and the step: every block sees the same batches, and a resumed
    run needs no state. Images are on the device, or read ahead of each step if they would take more
    than `SHARE` of its free memory. With `horizontal_flip`, each is mirrored with probability 1/2;
    of latents, that of the mirrored image is taken. Moments are drawn from.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        batch_size: int,
        seed: int,
        *,
        horizontal_flip: bool,
        device: torch.device,
    ) -> None:
        source = OnDevice if _fits(dataset, device) else Streamed
        self.source = source(dataset, seed, device, flip=horizontal_flip and dataset.flipped)
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed = seed
        # Mirroring the latent of an image is not the same as mirroring the image.
        self.mirrors = horizontal_flip and dataset.latents is None
        self.moments = dataset.latents is not None and dataset.latents.moments
        self.device = device
        self._none = torch.zeros(batch_size, dtype=torch.bool, device=device)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Images (N, C, H, W) float32 in [-1, 1] and labels (N,) of one step, counted from 0."""
        return self.take(*self.inputs(step))

    def inputs(self, step: int, part: slice = WHOLE) -> tuple[Tensor, ...]:
        """What `take` needs of a part of a step; a DitbenchError if a file cannot be read."""
        return *self.source.inputs(step, self.batch_size, part), self._drawn(step)[part]

    def take(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The images and labels of the inputs; it may be recorded in a CUDA graph."""
        *given, drawn = inputs
        images, labels = self.source.take(*given)
        x = self.dataset.to_model(images, drawn if self.moments else None)
        if self.mirrors:
            x = torch.where(drawn[:, None, None, None], x.flip(-1), x)
        return x, labels

    def _drawn(self, step: int) -> Tensor:
        """What is drawn per image: whether it is mirrored, (N,) bool; or noise of moments."""
        if self.moments:
            draws = generator(self.seed, "data", "posterior", step, device=self.device)
            shape = (self.batch_size, *self.dataset.shape)
            return torch.randn(shape, generator=draws, device=self.device)
        if self.mirrors:
            # A copy to CUDA may be asynchronous: the source is staged before the call returns.
            return mirrored(self.seed, step, self.batch_size).to(self.device, non_blocking=True)
        return self._none


def _fits(dataset: ImageDataset, device: torch.device) -> bool:
    """Whether the images may stay on the device; those in memory are already there on a CPU."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        # What torch keeps for later allocations is free, too.
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    elif dataset.file is None:
        return True
    else:
        free = machine_memory()
    return dataset.nbytes <= SHARE * free


def drop(count: int, probability: float, draws: torch.Generator) -> Tensor:
    """Which of `count` labels the null class replaces (Ho & Salimans 2022): (count,) bool."""
    return torch.rand(count, generator=draws, device=draws.device) < probability
