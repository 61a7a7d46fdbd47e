"""Gradients of weights on a second CUDA stream, concurrent with the rest of a backward pass.

Nothing else in a backward pass waits for the gradient of a weight. The product that computes it
leaves multiprocessors idle, and costs little next to operations limited by memory bandwidth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor


class SideStream:
    """Computes gradients of parameters on a second stream, joined at the end of a backward pass.

    Autograd must not read a gradient before the join. So only the first gradient, in this pass, of
    a parameter that is a leaf and has no gradient yet is computed here.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)
        self._pending: tuple[torch.cuda.Event, Sequence[Tensor]] | None = None
        self._seen: set[int] = set()

    def gradients(
        self,
        parameters: Sequence[Tensor],
        compute: Callable[[], Sequence[Tensor]],
        reads: Sequence[Tensor],  # by `compute`, kept until it is done
    ) -> Sequence[Tensor]:
        """The gradients of a layer's parameters, on the second stream where that is safe."""
        torch.autograd.Variable._execution_engine.queue_callback(self.join)
        current = torch.cuda.current_stream()
        if any(id(each) in self._seen for each in parameters):
            current.wait_stream(self.stream)  # autograd adds this gradient to the first one
            return compute()
        if not all(each.is_leaf and each.grad is None for each in parameters):
            return compute()
        self._seen.update(map(id, parameters))
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            gradients = compute()
            event = self.stream.record_event()
        # One computation at a time: the tensors that it reads cannot be freed before it is done.
        self.wait()
        self._pending = event, reads
        return gradients

    def wait(self) -> None:
        """Let the current stream wait for the pending computation, and free what it read."""
        if self._pending is not None:
            torch.cuda.current_stream().wait_event(self._pending[0])
            self._pending = None

    def join(self) -> None:
        """Let the current stream wait for all gradients: the end of a backward pass."""
        torch.cuda.current_stream().wait_stream(self.stream)
        self._pending = None
        self._seen.clear()


@cache
def side_stream(device: torch.device) -> SideStream:
    """The one side stream of a device: libraries keep a workspace for every stream."""
    return SideStream(device)
