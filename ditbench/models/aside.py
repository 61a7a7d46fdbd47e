"""Gradients of weights on a second stream of a GPU.

Nothing else in a backward pass waits for the gradient of a weight, and the product that makes it is
small in what it writes: alone it leaves processors idle, beside the operations that only move
numbers it costs little.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

# Computations that may be under way at once. What they read cannot be freed meanwhile, and is soon
# gone from the cache; on an H200.
AT_ONCE = 2

# Backward passes run in threads of torch's own: a context variable would not be seen there.
_active: list[Aside] = []


class Aside:
    """Computes gradients beside a backward pass.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)
        self._under_way: deque[tuple[torch.cuda.Event, Sequence[Tensor]]] = deque()
        self._gradients: dict[Tensor, Tensor] = {}

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Within it `compute` works aside; at its end all gradients are in the weights' `grad`."""
        _active.append(self)
        try:
            yield
        finally:
            _active.remove(self)
            torch.cuda.current_stream().wait_stream(self.stream)
            self._under_way.clear()
            gradients, self._gradients = self._gradients, {}
        for weight, gradient in gradients.items():
            weight.grad = gradient if weight.grad is None else weight.grad + gradient

    def compute(
        self,
        weights: Sequence[Tensor],
        gradients: Callable[[], Sequence[Tensor]],
        reads: Sequence[Tensor],
    ) -> None:
        """Add to the gradients of weights, without making the current stream wait for it."""
        current = torch.cuda.current_stream()
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            for weight, gradient in zip(weights, gradients(), strict=True):
                known = self._gradients.get(weight)
                self._gradients[weight] = gradient if known is None else known.add_(gradient)
            self._under_way.append((self.stream.record_event(), reads))
        while len(self._under_way) > AT_ONCE:
            done, _ = self._under_way.popleft()
            current.wait_event(done)


def weight_gradients(
    weights: Sequence[Tensor],
    gradients: Callable[[], Sequence[Tensor]],
    reads: Sequence[Tensor],
) -> Sequence[Tensor | None]:
    """What a backward pass returns for weights: their gradients, or nothing if they come aside.

    Args:
        weights: a layer's.
        gradients: computes their gradients.
        reads: all tensors that it reads.
    """
    # Only what is no result of another operation has a `grad` that something can be added to.
    if _active and all(weight.is_leaf for weight in weights):
        _active[-1].compute(weights, gradients, reads)
        return [None] * len(weights)
    return gradients()
