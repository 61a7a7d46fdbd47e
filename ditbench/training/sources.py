"""Where the images of a batch come from: the device, or memory or a file, read ahead of the step.

A source has two methods. `inputs(step, batch_size, part)` returns tensors of fixed shapes on the
device, for a part of a step's batch; `take(*inputs)` returns its images (M, C, H, W) and labels
(M,) without a wait, so that it may be recorded in a CUDA graph.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import count

import torch
from torch import Tensor

from ditbench.data.dataset import ImageDataset
from ditbench.seeds import generator

# Batches in memory: one that the device copies or trains on, the others read ahead of it.
AHEAD = 4


class Order:
    """Endless random permutations of the images, divided into batches; no image is skipped.

    With `flip`, the coins of a step choose between the latent of an image and that of its mirror
    image, row N + i. Pixels are mirrored later.
    """

    def __init__(self, images: int, seed: int, device: torch.device, *, flip: bool = False) -> None:
        self.images = images
        self.seed = seed
        self.device = device
        self.flip = flip
        self._epoch = -1
        self._permutation = torch.empty(0, dtype=torch.long)

    def indices(self, step: int, batch_size: int) -> Tensor:
        """The rows of the images of a step, (N,)."""
        epoch, start = divmod(step * batch_size, self.images)
        index = self._of_epoch(epoch)[start : start + batch_size]
        if rest := batch_size - len(index):
            index = torch.cat([index, self._of_epoch(epoch + 1)[:rest]])
        if self.flip:
            coins = mirrored(self.seed, step, batch_size).to(self.device, non_blocking=True)
            index = index + self.images * coins
        return index

    def _of_epoch(self, epoch: int) -> Tensor:
        """The permutation of one epoch; the latest is cached."""
        if epoch != self._epoch:
            draws = generator(self.seed, "data", epoch)
            self._permutation = torch.randperm(self.images, generator=draws).to(self.device)
            self._epoch = epoch
        return self._permutation


def mirrored(seed: int, step: int, batch_size: int) -> Tensor:
    """Whether each image of a step is mirrored, (N,) bool."""
    return torch.rand(batch_size, generator=generator(seed, "data", "flip", step)) < 0.5


class OnDevice:
    """All images are on the device; a batch is gathered there."""

    def __init__(
        self, dataset: ImageDataset, seed: int, device: torch.device, *, flip: bool = False
    ) -> None:
        self.images = dataset.on(device)
        self.labels = dataset.labels.repeat(1 + dataset.flipped).to(device)
        self.order = Order(len(dataset), seed, device, flip=flip)

    def inputs(self, step: int, batch_size: int, part: slice) -> tuple[Tensor, ...]:
        """The rows of the images."""
        return (self.order.indices(step, batch_size)[part],)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The images at these positions, and their labels."""
        return self.images[index], self.labels[index]


class Streamed:
    """The images are in memory or in a file; a thread reads the batches of the next steps.

    It reads without calling CUDA, which could disturb the recording of a CUDA graph.
    """

    def __init__(
        self, dataset: ImageDataset, seed: int, device: torch.device, *, flip: bool = False
    ) -> None:
        self.dataset = dataset
        self.seed = seed
        self.flip = flip
        self.device = device
        self._ahead: deque[Future[tuple[Tensor, Slot]]] = deque()
        self._next: tuple[int, int, slice] | None = None  # the arguments that are read ahead for
        self._slot: Slot | None = None  # of the step before

    def inputs(self, step: int, batch_size: int, part: slice) -> tuple[Tensor, ...]:
        """The images and labels; a DitbenchError (exit code 1) if the images cannot be read."""
        if self._next != (step, batch_size, part):
            self._read_from(step, batch_size, part)
        elif self._slot is not None:
            self._slot.left()
            self._read_into(self._slot)
        self._next = None  # until the batch has arrived
        labels, self._slot = self._ahead.popleft().result()
        self._next = (step + 1, batch_size, part)
        return self._slot.arrive(), labels.to(self.device, non_blocking=True)

    def take(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The inputs."""
        return images, labels

    def _read_from(self, step: int, batch_size: int, part: slice) -> None:
        """Read the batches from this step on, in a new thread; the one before then ends."""
        order = Order(len(self.dataset), self.seed, torch.device("cpu"), flip=self.flip)
        self._indices = (order.indices(each, batch_size)[part] for each in count(step))
        self._thread = ThreadPoolExecutor(1, "read-ahead")
        self._ahead.clear()
        images = self.dataset.images
        shape = (len(range(batch_size)[part]), *images.shape[1:])
        kind = PinnedSlot if self.device.type == "cuda" else Slot
        for _ in range(AHEAD):
            self._read_into(kind(shape, images.dtype, self.device))

    def _read_into(self, slot: Slot) -> None:
        self._ahead.append(self._thread.submit(_read, self.dataset, self._indices, slot))


def _read(dataset: ImageDataset, indices: Iterator[Tensor], slot: Slot) -> tuple[Tensor, Slot]:
    """The labels of the next batch, and the slot with its images."""
    index = next(indices)
    dataset.read(index, slot.host)
    return dataset.labels[index % len(dataset)], slot


class Slot:
    """Memory for the images of a batch."""

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
        self.device = device
        self.host = torch.empty(shape, dtype=dtype, pin_memory=device.type == "cuda")

    def arrive(self) -> Tensor:
        """The images, on the device; valid until the next step's are asked for."""
        return self.host.to(self.device)

    def left(self) -> None:
        """The step that uses the images has been launched; waits until they may be replaced."""


class PinnedSlot(Slot):
    """Pinned memory, and memory on a GPU that it is copied to on another stream than the steps'."""

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(shape, dtype, device)
        self._images = torch.empty(shape, dtype=dtype, device=device)
        self._stream = _copy_stream(device)
        self._images.record_stream(self._stream)  # not reused before a copy has ended
        self._copied, self._used = torch.cuda.Event(), torch.cuda.Event()
        self._used.record()  # after whatever this memory was used for before

    def arrive(self) -> Tensor:
        """The images; the current stream waits for them, the host does not."""
        with torch.cuda.stream(self._stream):
            self._used.wait()
            self._images.copy_(self.host, non_blocking=True)
            self._copied.record()
        self._copied.wait()
        return self._images

    def left(self) -> None:
        """Wait for the copy: the host may be as many steps ahead of the GPU as there are slots."""
        self._used.record()
        self._copied.synchronize()


@cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    """One stream per device and process."""
    return torch.cuda.Stream(device)
