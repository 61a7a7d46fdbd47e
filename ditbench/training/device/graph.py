"""A function on a GPU as one CUDA graph: recorded once, then replayed by a single launch."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

# Calls before the recording: libraries choose kernels and optimizers create their state in them.
WARM_UP = 3
# What CUDA and torch say about an operation that would have to wait for the device.
_FORBIDDEN = ("when stream is capturing", "graph capture")


class CudaGraph:
    """A function of tensors whose kernels are launched by one call, from the fourth call on.

    The host launches a small model's kernels one by one more slowly than the GPU runs them. The
    tensors have the same shapes at every call, and the result is one. The function reads no number
    from Python, changes its state in place, and draws from `generators`, which a replay advances.
    """

    def __init__(
        self, function: Callable[..., Tensor], generators: Sequence[torch.Generator]
    ) -> None:
        self.function = function
        self.generators = generators
        self.calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._output: Any = None
        self._stream = _capture_stream(torch.cuda.current_device())

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Call the function; the next call overwrites the result."""
        self.calls += 1
        if self._graph is None:
            if self.calls <= WARM_UP:
                return self._warm_up(inputs)
            self._graph = self._record(inputs)
        for place, given in zip(self._inputs, inputs, strict=True):
            place.copy_(given)
        self._graph.replay()
        return self._output

    def _warm_up(self, inputs: tuple[Tensor, ...]) -> Tensor:
        # On the stream of the recording: memory and library handles belong to streams.
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            output = self.function(*inputs)
        torch.cuda.current_stream().wait_stream(self._stream)
        return output

    def _record(self, inputs: tuple[Tensor, ...]) -> torch.cuda.CUDAGraph:
        """Record every kernel of a call without running it."""
        self._inputs = tuple(given.clone() for given in inputs)
        graph = torch.cuda.CUDAGraph()
        for generator in self.generators:
            graph.register_generator_state(generator)
        mode = "thread_local"  # others use the GPU, too: NCCL's, and one that copies batches
        record = torch.cuda.graph(graph, stream=self._stream, capture_error_mode=mode)
        with _first_error(), record, _no_collection():
            self._output = self.function(*self._inputs)
        return graph


@cache
def _capture_stream(device: int) -> torch.cuda.Stream:
    """One stream per device and process: libraries keep tens of MiB for every stream."""
    return torch.cuda.Stream(device)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python's garbage until the end: freeing another graph would make a recording fail."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class NotRecordable(RuntimeError):  # noqa: N818 (what it is, as in torch's own)
    """A function does what a CUDA graph cannot hold."""


@contextmanager
def _first_error() -> Iterator[None]:
    """Raise the first error of a recording, or `NotRecordable` with the operation's traceback."""
    try:
        yield
    except RuntimeError as error:
        first = error.__context__ or error
        if not any(words in str(first) for words in _FORBIDDEN):
            raise first from None
        raise NotRecordable(
            "a step on a GPU is recorded as a CUDA graph, in which nothing may wait for the "
            "device: no .item(), .cpu(), .tolist(), bool() or printing of tensors"
        ).with_traceback(first.__traceback__) from first


class GraphPerShape:
    """A function of tensors, without state or randomness, recorded once per shape of its inputs."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function
        self._graphs: dict[tuple[torch.Size, ...], CudaGraph] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Call the function; the caller may keep the result."""
        shapes = tuple(each.shape for each in inputs)
        if shapes not in self._graphs:
            self._graphs[shapes] = CudaGraph(self.function, ())
        return self._graphs[shapes](*inputs).clone()
