"""Gradients of weights on a second CUDA stream, beside the rest of a backward pass.

Nothing else in a backward pass waits for the gradient of a weight, and the product that computes it
writes little: alone it leaves multiprocessors idle; beside operations limited by memory bandwidth
it costs little.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor


class SideStream:
    """Computes gradients of parameters beside a backward pass, which they join at its end.

    Autograd takes the returned gradients as they are and reads them after the join. Only what
    nothing reads before may therefore be computed here: the first gradient, in this pass, of a
    parameter that is a leaf and has no gradient yet.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)
        self._under_way: tuple[torch.cuda.Event, Sequence[Tensor]] | None = None
        self._seen: set[int] = set()

    def gradients(
        self,
        parameters: Sequence[Tensor],
        compute: Callable[[], Sequence[Tensor]],
        reads: Sequence[Tensor],
    ) -> Sequence[Tensor]:
        """The gradients of parameters, computed on the second stream where that is safe.

        Args:
            parameters: of one layer.
            compute: computes their gradients.
            reads: the tensors that it reads, which are kept until it is done.
        """
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
        # One computation at a time: what it reads cannot be freed meanwhile.
        self._wait()
        self._under_way = event, reads
        return gradients

    def _wait(self) -> None:
        """Let the current stream wait for the computation under way, and free what it read."""
        if self._under_way is not None:
            torch.cuda.current_stream().wait_event(self._under_way[0])
            self._under_way = None

    def join(self) -> None:
        """Let the current stream wait for all gradients: the end of a backward pass."""
        torch.cuda.current_stream().wait_stream(self.stream)
        self._under_way = None
        self._seen.clear()


@cache
def side_stream(device: torch.device) -> SideStream:
    """The process's second stream of a device: libraries keep workspaces for every stream."""
    return SideStream(device)
