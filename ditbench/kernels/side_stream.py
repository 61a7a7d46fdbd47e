"""Gradients of weights on a second CUDA stream, concurrent with the rest of a backward pass.

Nothing else in a backward pass waits for the gradient of a weight. The product that computes it
leaves multiprocessors idle, and costs little next to operations limited by memory bandwidth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor


class SideStream:
    """Computes gradients of parameters on a second stream, joined at the end of a backward pass.

    Autograd does not know of this stream: it must not read a gradient before the join. It does so
    to add a second gradient of the same parameter, and for hooks.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)
        self._pending: tuple[torch.cuda.Event, Sequence[Tensor]] | None = None
        self._alone: frozenset[int] = frozenset()

    def backward(self, loss: Tensor) -> None:
        """`loss.backward()`, in which `gradients` uses the second stream where that is safe."""
        self._alone = with_one_gradient(loss)
        try:
            loss.backward()
        finally:
            torch.cuda.current_stream().wait_stream(self.stream)
            self._pending = None
            self._alone = frozenset()

    def gradients(
        self,
        parameters: Sequence[Tensor],
        compute: Callable[[], Sequence[Tensor]],
        reads: Sequence[Tensor],  # by `compute`, kept until it is done
    ) -> Sequence[Tensor]:
        """The gradients of a layer's parameters, on the second stream where that is safe."""
        if not all(self._is_read_after_the_join(each) for each in parameters):
            return compute()
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            gradients = compute()
            event = self.stream.record_event()
        # One computation at a time: the tensors that it reads cannot be freed before it is done.
        self.wait()
        self._pending = event, reads
        return gradients

    def _is_read_after_the_join(self, parameter: Tensor) -> bool:
        alone = id(parameter) in self._alone and parameter.grad is None
        return alone and not parameter._backward_hooks

    def wait(self) -> None:
        """Let the current stream wait for the pending computation, and free what it read."""
        if self._pending is not None:
            torch.cuda.current_stream().wait_event(self._pending[0])
            self._pending = None


def with_one_gradient(loss: Tensor) -> frozenset[int]:
    """The `id`s of the leaves whose gradient is not a sum of several in a backward pass."""
    gradients: Counter[int] = Counter()
    nodes = [] if loss.grad_fn is None else [loss.grad_fn]
    found = set(nodes)
    while nodes:
        for following, _ in nodes.pop().next_functions:
            if (leaf := getattr(following, "variable", None)) is not None:
                gradients[id(leaf)] += 1
            elif following is not None and following not in found:
                found.add(following)
                nodes.append(following)
    return frozenset(leaf for leaf, count in gradients.items() if count == 1)


@cache
def side_stream(device: torch.device) -> SideStream:
    """The one side stream of a device: libraries keep a workspace for every stream."""
    return SideStream(device)
