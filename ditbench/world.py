"""The processes that train one model together, on one machine or several.

Every process computes a part of each global batch. Nothing else differs between them: they draw the
same random numbers for the global batch, hold the same weights and take the same decisions. So a
result does not depend on their number, except for rounding.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    from torch import Tensor, nn

# Numbers; each gradient starts at a multiple of 256 bytes, as if it were allocated on its own.
ALIGNMENT = 64


class World:
    """The processes of one run, and this one's place among them.

    Every method that exchanges something waits for the same call in all processes. A process that
    is alone exchanges nothing.

    Attributes:
        size: the number of processes.
        rank: the number of this process, from 0. Process 0 writes and reports.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    @property
    def alone(self) -> bool:
        """Whether this is the only process."""
        return self.size == 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """The part of `count` items that is this process's; parts are in the order of ranks."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def share(self, count: int) -> float:
        """The size of that part, as a fraction."""
        part = self.part(count)
        return (part.stop - part.start) / count

    def most(self, number: float) -> float:
        """The largest of the numbers that the processes pass."""
        if self.alone:
            return number
        value = torch.tensor(number, dtype=torch.float64)
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return value.item()

    def all(self, condition: bool) -> bool:  # noqa: FBT001
        """Whether the condition is true in every process."""
        return not self.most(not condition)

    def add(self, numbers: Tensor) -> None:
        """Replace numbers by their sum over processes, in place, where they are."""
        if not self.alone:
            dist.all_reduce(numbers)

    def gather(self, part: Tensor, count: int) -> Tensor:
        """The parts of all processes (see `part`), concatenated: (count, ...) on the same device.

        Each process passes its part of `count` items, of the same dtype and shape per item.
        """
        if self.alone:
            return part
        places = [World(rank, self.size).part(count) for rank in range(self.size)]
        # Parts of different lengths cannot be gathered: each is sent as long as the longest.
        longest = max(place.stop - place.start for place in places)
        padded = part.new_zeros(longest, *part.shape[1:])
        padded[: len(part)] = part
        parts = [torch.empty_like(padded) for _ in places]
        dist.all_gather(parts, padded)
        return torch.cat(
            [each[: place.stop - place.start] for each, place in zip(parts, places, strict=True)]
        )


ALONE = World()


class GradientSum:
    """Adds the gradients of all processes, and one number, by one all-reduce.

    Args:
        weights: the parameters, in the same order in every process.
        world: the processes.
    """

    def __init__(self, weights: Iterable[nn.Parameter], world: World) -> None:
        self.world = world
        self.weights = list(weights)
        sizes = [-(-weight.numel() // ALIGNMENT) * ALIGNMENT for weight in self.weights]
        example = self.weights[0]
        # The last number is the one that is added beside the gradients.
        self._flat = torch.zeros(sum(sizes) + 1, dtype=example.dtype, device=example.device)
        places = self._flat[:-1].split(sizes)
        self._views = [
            place[: weight.numel()].view_as(weight)
            for weight, place in zip(self.weights, places, strict=True)
        ]

    def __call__(self, number: Tensor) -> Tensor:
        """Replace each gradient by its sum over processes; returns the sum of the numbers."""
        used = [
            (weight, view)
            for weight, view in zip(self.weights, self._views, strict=True)
            if weight.grad is not None
        ]
        gradients = [weight.grad for weight, _ in used]
        torch._foreach_copy_([view for _, view in used], gradients)  # type: ignore[arg-type]
        self._flat[-1] = number
        self.world.add(self._flat)
        for weight, view in used:
            weight.grad = view
        return self._flat[-1].clone()


def join(device: torch.device) -> World:
    """The world of this process, by the variables that torchrun sets.

    CPU tensors are exchanged by gloo, those on a GPU by NCCL.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ALONE
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, device_id=device if device.type == "cuda" else None)
    return World(dist.get_rank(), size)


def launched() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ
