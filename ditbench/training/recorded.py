"""A function on a GPU as one graph: recorded once, then replayed without the host's help."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from ditbench.models.aside import stream_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

# Calls before the recording: libraries choose kernels and optimizers make their state in the first.
WARM_UP = 3
# What CUDA and torch say where an operation would have to be waited for.
_FORBIDDEN = ("when stream is capturing", "graph capture")


class Recorded:
    """A function of tensors whose every kernel is launched by one call from the fourth call on.

    A small model's step is hundreds of kernels of microseconds each, which a host does not launch
    as fast as a GPU runs them. The function must always do the same: no number may come from
    Python, and what it changes must be changed in place.

    Args:
        function: of tensors of the same shapes at every call; returns a tensor.
        generators: which it draws from; they stand after a replay where they would have stood.
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
        current = torch.device("cuda", torch.cuda.current_device())
        self._stream = stream_for("recording", current)

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Call the function; the result is overwritten by the next call."""
        self.calls += 1
        if self._graph is None:
            if self.calls <= WARM_UP:
                return self._rehearse(inputs)
            self._record(inputs)
        for place, given in zip(self._inputs, inputs, strict=True):
            place.copy_(given)
        assert self._graph is not None
        self._graph.replay()
        return self._output

    def _rehearse(self, inputs: tuple[Tensor, ...]) -> Tensor:
        # On the stream of the recording: memory and handles of libraries belong to streams.
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            output = self.function(*inputs)
        torch.cuda.current_stream().wait_stream(self._stream)
        return output

    def _record(self, inputs: tuple[Tensor, ...]) -> None:
        """Note every kernel of a call; none is run."""
        self._inputs = tuple(given.clone() for given in inputs)
        graph = torch.cuda.CUDAGraph()
        for generator in self.generators:
            graph.register_generator_state(generator)
        with _telling_what_failed(), torch.cuda.graph(graph, stream=self._stream):
            self._output = self.function(*self._inputs)
        self._graph = graph


class NotRecordable(RuntimeError):  # noqa: N818 (what it is, as in torch's own)
    """A function did what a recording cannot hold."""


@contextmanager
def _telling_what_failed() -> Iterator[None]:
    """Raise what went wrong within a recording, where its end fails in consequence.

    Raises:
        NotRecordable: CUDA did not allow an operation; its traceback leads to that.
    """
    try:
        yield
    except RuntimeError as error:
        first = error.__context__ or error
        if not any(words in str(first) for words in _FORBIDDEN):
            raise first from None
        told = (
            "a step on a GPU is recorded, and nothing in it may wait for the device, as .item(), "
            ".cpu(), .tolist(), bool() and printing do"
        )
        raise NotRecordable(told).with_traceback(first.__traceback__) from first


class RecordedByShape:
    """A function without memory or chance, recorded for every shape of its inputs.

    Args:
        function: of tensors; returns a tensor.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function
        self._recorded: dict[tuple[torch.Size, ...], Recorded] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Call the function; the result is the caller's to keep."""
        shapes = tuple(each.shape for each in inputs)
        if shapes not in self._recorded:
            self._recorded[shapes] = Recorded(self.function, ())
        return self._recorded[shapes](*inputs).clone()
