"""What makes a small model faster on a CPU. Results are equal up to rounding.

A batch is computed in two halves, each by a thread of its own with half of the cores. Otherwise the
cores divide every single operation, and wait for each other at its end. An operation of a small
model takes a tenth of a millisecond, so that much of the time is spent waiting.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")

# glibc's `mallopt`: parameters and values. The largest threshold that it accepts.
MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
LARGEST = 2**25


def divides(model: nn.Module, device: torch.device) -> bool:
    """Whether batches are computed in halves: on a CPU, unless compiled code divides its loops."""
    compiled = any(module._compiled_call_impl is not None for module in model.modules())
    return device.type == "cpu" and torch.get_num_threads() % 2 == 0 and not compiled


@contextmanager
def half_of_the_cores() -> Iterator[None]:
    """A context in which each thread computes with half of the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(threads // 2)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def each_half(function: Callable[..., T], batch: Sequence[Tensor]) -> list[T]:
    """`function` of the first and of the second half of a batch, at the same time.

    The batch is tensors of the same number of images. It is called in `half_of_the_cores`.
    """
    if len(batch[0]) < 2:
        return [function(*batch)]
    first, second = zip(*(each.tensor_split(2) for each in batch), strict=True)
    # Each thread has a mode of its own, with gradients at first.
    elsewhere = torch.set_grad_enabled(torch.is_grad_enabled())(function)
    other = _thread().submit(elsewhere, *second)
    try:
        return [function(*first), other.result()]
    finally:
        wait([other])


@cache
def _thread() -> ThreadPoolExecutor:
    """The second thread; the number of its cores is that of its first operation."""
    return ThreadPoolExecutor(1, thread_name_prefix="second-half")


@cache
def keep_freed_memory() -> None:
    """Let glibc keep freed memory of this process, which otherwise comes back as page faults."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, LARGEST)
        mallopt(TRIM_THRESHOLD, 2**31 - 1)
