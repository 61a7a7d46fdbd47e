"""The processes that compute one run together, on one machine or several.

Every process computes a part of each batch. Nothing else differs between them: they draw the same
random numbers for the whole batch, hold the same weights and take the same decisions. So a result
does not depend on their number, except for rounding.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ditbench.errors import EXIT_FAILED, DitbenchError

# Numbers; each gradient starts at a multiple of 256 bytes, as if it were allocated on its own.
ALIGNMENT = 64
# Numbers in a bucket of gradients: 64 MiB of float32.
BUCKET = 2**24

T = TypeVar("T")


class ProcessLost(DitbenchError):  # noqa: N818 (named like Stopped)
    """Another process of the run has ended, so that nothing can be exchanged with it."""

    def __init__(self) -> None:
        super().__init__(
            "another process of this run has ended",
            "the same command resumes from the last checkpoint",
            EXIT_FAILED,
        )


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

    def sharing(self, count: int) -> World:
        """Who divides so many items: this world, or `ALONE` where they are fewer than processes."""
        return self if count >= self.size else ALONE

    def most(self, number: float) -> float:
        """The largest of the numbers that the processes pass."""
        if self.alone:
            return number
        value = torch.tensor(number, dtype=torch.float64)
        with _peers():
            dist.all_reduce(value, dist.ReduceOp.MAX)
        return value.item()

    def all(self, condition: bool) -> bool:  # noqa: FBT001
        """Whether the condition is true in every process."""
        return not self.most(not condition)

    def add(self, numbers: Tensor) -> Callable[[], None]:
        """Begin to replace numbers by their sum over processes; returns what waits for the end."""
        with _peers():
            work = dist.all_reduce(numbers, async_op=True)

        def wait() -> None:
            with _peers():
                work.wait()

        return wait

    def decided(self, value: T) -> T:
        """The value that process 0 passes, which can be pickled."""
        if self.alone:
            return value
        values = [value]
        with _peers():
            dist.broadcast_object_list(values, device=torch.device("cpu"))
        return values[0]

    def gather(self, part: Tensor, count: int) -> Tensor:
        """The parts of all processes (see `part`), concatenated: (count, ...) on the same device.

        Each process passes its part of `count` items, of the same dtype and shape per item.
        """
        if self.alone:
            return part
        places = [World(rank, self.size).part(count) for rank in range(self.size)]
        # Parts of different lengths cannot be gathered: each is sent as long as the longest.
        longest = max(place.stop - place.start for place in places)
        if len(part) < longest:
            part = torch.cat([part, part.new_zeros(longest - len(part), *part.shape[1:])])
        parts = part.new_empty(self.size, longest, *part.shape[1:])
        with _peers():
            dist.all_gather(list(parts), part.contiguous())
        if count == self.size * longest:
            return parts.flatten(0, 1)
        return torch.cat(
            [each[: place.stop - place.start] for each, place in zip(parts, places, strict=True)]
        )


ALONE = World()


@contextmanager
def _peers() -> Iterator[None]:
    """Raise `ProcessLost` for what torch raises if another process has ended."""
    try:
        yield
    except RuntimeError as error:  # the text depends on what the other process was doing
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise ProcessLost from error


class GradientSum:
    """Adds the gradients of all processes, while the backward pass that computes them continues.

    Gradients are added in buckets, in the order in which the first backward pass computed them.
    Where a step has several backward passes, they are added in the last one.

    Args:
        weights: the parameters, in the same order in every process.
        world: the processes, of which there are several.
        ready: called before the gradients of a bucket are read, which may still be computed on
            another stream.
    """

    def __init__(
        self,
        weights: Sequence[nn.Parameter],
        world: World,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.world = world
        self.ready = ready
        self._buckets: list[_Bucket] = []
        self._bucket_of: dict[nn.Parameter, _Bucket] = {}
        self._arrived: list[nn.Parameter] = []
        self._last = False  # whether the backward pass is the last one of a step
        for weight in weights:
            weight.register_post_accumulate_grad_hook(self._arrive)

    def begin(self) -> None:
        """The next backward pass is the last one of a step: it completes the gradients."""
        self._arrived.clear()
        self._last = True

    def finish(self, loss: Tensor) -> Tensor:
        """After it: let the gradients, and this process's loss, be sums; returns the latter."""
        self._last = False
        if not self._buckets:
            self._divide(self._arrived)
            for bucket in self._buckets:
                self._start(bucket)
        self.world.add(loss)()
        for bucket in self._buckets:
            bucket.finish()
        return loss

    def _arrive(self, weight: nn.Parameter) -> None:
        if not self._last:
            return
        self._arrived.append(weight)
        bucket = self._bucket_of.get(weight)
        if bucket is not None and bucket.is_complete():
            self._start(bucket)

    def _start(self, bucket: _Bucket) -> None:
        self.ready()
        bucket.start(self.world)

    def _divide(self, weights: Sequence[nn.Parameter]) -> None:
        """Divide the weights that have gradients, in this order, into buckets."""
        count, group = 0, []
        for weight in weights:
            group.append(weight)
            count += weight.numel()
            if count >= BUCKET or weight is weights[-1]:
                self._buckets.append(_Bucket(group))
                count, group = 0, []
        self._bucket_of = {each: bucket for bucket in self._buckets for each in bucket.weights}


class _Bucket:
    """Gradients that are added by one all-reduce."""

    def __init__(self, weights: Sequence[nn.Parameter]) -> None:
        self.weights = weights
        sizes = [-(-weight.numel() // ALIGNMENT) * ALIGNMENT for weight in weights]
        self._flat = weights[0].new_zeros(sum(sizes))
        self._views = [
            place[: weight.numel()].view_as(weight)
            for weight, place in zip(weights, self._flat.split(sizes), strict=True)
        ]
        self._missing = len(weights)
        self._wait: Callable[[], None]

    def is_complete(self) -> bool:
        """Whether each gradient was computed, after one more call for each."""
        self._missing -= 1
        return not self._missing

    def start(self, world: World) -> None:
        """Begin to add the gradients of all processes."""
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        torch._foreach_copy_(self._views, gradients)
        self._wait = world.add(self._flat)

    def finish(self) -> None:
        """Wait for the sum, and replace the gradients by it."""
        self._wait()
        self._missing = len(self.weights)
        for weight, view in zip(self.weights, self._views, strict=True):
            weight.grad = view


def launched() -> bool:
    """Whether torchrun, or ditbench as torchrun would, started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def local_rank() -> int | None:
    """The number of this process on its machine, if it was `launched`."""
    return int(os.environ["LOCAL_RANK"]) if launched() else None


def join(device: torch.device | None) -> World:
    """The world of this process, by the variables that torchrun sets.

    CPU tensors are exchanged by gloo, those on a GPU by NCCL.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ALONE
    if not dist.is_initialized():
        on_gpu = device is not None and device.type == "cuda"
        with _peers():
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if on_gpu else "gloo", device_id=device if on_gpu else None
            )
    return World(dist.get_rank(), size)
