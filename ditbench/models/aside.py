"""Gradients of weights on a second stream of a GPU.

Nothing else in a backward pass waits for the gradient of a weight, and the product that makes it is
small in what it writes: alone it leaves processors idle, beside the operations that only move
numbers it costs little.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

# Computations that may be under way at once. What they read cannot be freed meanwhile, and is soon
# gone from the cache; on an H200.
AT_ONCE = 1

# Backward passes run in threads of torch's own: a context variable would not be seen there.
_active: list[Aside] = []


@cache
def stream_for(purpose: str, device: torch.device) -> torch.cuda.Stream:
    """One stream for a purpose and a process: libraries keep tens of MiB for all that they see."""
    del purpose  # tells streams of one device apart
    return torch.cuda.Stream(device)


class Aside:
    """Computes gradients beside a backward pass.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream = stream_for("gradients", device)
        self._under_way: deque[tuple[torch.cuda.Event, Sequence[Tensor]]] = deque()
        self._gradients: dict[Tensor, Tensor] = {}

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Within it gradients are computed aside; at its end every parameter has its `grad`."""
        # A recording knows only streams that have waited for its own, and all must join it again:
        # also where nothing is computed aside, as in float32.
        self.stream.wait_stream(torch.cuda.current_stream())
        _active.append(self)
        try:
            yield
        finally:
            _active.remove(self)
            torch.cuda.current_stream().wait_stream(self.stream)
            self._under_way.clear()
            gradients, self._gradients = self._gradients, {}
        for parameter, gradient in gradients.items():
            known = parameter.grad
            parameter.grad = gradient if known is None else known + gradient

    def compute(
        self,
        parameters: Sequence[Tensor],
        rows: slice,
        gradients: Callable[[], Sequence[Tensor]],
        reads: Sequence[Tensor],
    ) -> None:
        """Add to the gradients of parameters, without making the current stream wait for it.

        The arguments are those of `parameter_gradients`.
        """
        current = torch.cuda.current_stream()
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            for parameter, gradient in zip(parameters, gradients(), strict=True):
                if parameter in self._gradients:
                    self._gradients[parameter][rows].add_(gradient)
                else:
                    self._gradients[parameter] = _whole(parameter, rows, gradient)
            self._under_way.append((self.stream.record_event(), reads))
        while len(self._under_way) > AT_ONCE:
            done, _ = self._under_way.popleft()
            current.wait_event(done)


def parameter_gradients(
    parameters: Sequence[Tensor],
    rows: slice,
    gradients: Callable[[], Sequence[Tensor]],
    reads: Sequence[Tensor],
) -> Sequence[Tensor | None]:
    """What a backward pass returns for parameters: their gradients, or nothing if they come aside.

    Args:
        parameters: a layer's.
        rows: of each of them, which have a gradient; that of the others is 0.
        gradients: computes those rows' gradients.
        reads: all tensors that it reads.
    """
    # Only what is no result of another operation has a `grad` that something can be added to.
    if _active and all(each.is_leaf for each in parameters):
        _active[-1].compute(parameters, rows, gradients, reads)
        return [None] * len(parameters)
    return [_whole(each, rows, part) for each, part in zip(parameters, gradients(), strict=True)]


def _whole(parameter: Tensor, rows: slice, gradient: Tensor) -> Tensor:
    """The gradient of all rows of a parameter, of that of some."""
    if gradient.shape == parameter.shape:
        return gradient
    whole = gradient.new_zeros(parameter.shape)
    whole[rows] = gradient
    return whole
