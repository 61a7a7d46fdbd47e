"""Batches of images and labels, in an order that depends only on the seed and the step."""

from __future__ import annotations

import torch
from torch import Tensor

from ditbench.data.dataset import ImageDataset, to_model
from ditbench.seeds import generator


class Batches:
    """Endless random permutations of the dataset, split into batches. No image is skipped.

    The images stay on the device as uint8. A batch is a function of the seed and the step: every
    block sees the same batches, and a resumed run needs no state.

    A batch has at most as many images as the dataset. With `horizontal_flip`, each image is
    mirrored with probability 1/2.
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
        self.images = dataset.images.to(device)
        self.labels = dataset.labels.to(device)
        self.batch_size = batch_size
        self.seed = seed
        self.horizontal_flip = horizontal_flip
        self.device = device
        self._none = torch.zeros(batch_size, dtype=torch.bool, device=device)
        self._epoch = -1
        self._permutation = torch.empty(0, dtype=torch.long)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Images (N, C, H, W) float32 in [-1, 1] and labels (N,) of one step, counted from 0."""
        return self.take(self.indices(step), self.mirrored(step))

    def take(self, index: Tensor, mirrored: Tensor) -> tuple[Tensor, Tensor]:
        """The images and labels of `indices`, flipped where `mirrored`; on the device."""
        x = to_model(self.images[index])
        if self.horizontal_flip:
            x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
        return x, self.labels[index]

    def mirrored(self, step: int) -> Tensor:
        """Whether each image of a step is mirrored, (N,) bool."""
        if not self.horizontal_flip:
            return self._none
        coins = generator(self.seed, "data", "flip", step)
        mirrored = torch.rand(self.batch_size, generator=coins) < 0.5
        # A copy to CUDA may be asynchronous: the source is staged before the call returns.
        return mirrored.to(self.device, non_blocking=True)

    def indices(self, step: int) -> Tensor:
        """The positions of the images of a step, (N,)."""
        epoch, start = divmod(step * self.batch_size, len(self.images))
        index = self._order(epoch)[start : start + self.batch_size]
        if rest := self.batch_size - len(index):
            index = torch.cat([index, self._order(epoch + 1)[:rest]])
        return index

    def _order(self, epoch: int) -> Tensor:
        """The permutation of one epoch; the latest is cached."""
        if epoch != self._epoch:
            draws = generator(self.seed, "data", epoch)
            self._permutation = torch.randperm(len(self.images), generator=draws).to(self.device)
            self._epoch = epoch
        return self._permutation


def drop(count: int, probability: float, draws: torch.Generator) -> Tensor:
    """Which of `count` labels to replace by the null class in training: (count,) bool.

    The model learns both the conditional and the unconditional prediction (Ho & Salimans 2022).
    """
    return torch.rand(count, generator=draws, device=draws.device) < probability
