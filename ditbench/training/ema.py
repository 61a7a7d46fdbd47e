"""An exponential moving average of the weights, which is evaluated and sampled."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from ditbench.training.flat import flatten

M = TypeVar("M", bound=nn.Module)


class Ema(Generic[M]):
    """A second model whose weights are the moving average of those of the first.

    The decay at update n is min(decay, (1 + n) / (10 + n)). With a constant decay of 0.9999, the
    average would still contain 61% of the initial weights after 5,000 updates.

    Args:
        model: the trained model. Its weights are moved into one storage, so that an update is one
            operation.
        decay: the upper bound of the decay. With 0 the average equals the model; 1 is no bound.

    Attributes:
        model: the second model.
        averages: all of its weights, flat.
        weights: all weights of the first model, flat.
    """

    def __init__(self, model: M, decay: float) -> None:
        self.model: M = copy.deepcopy(model)
        self.model.requires_grad_(requires_grad=False).eval()
        self.decay = decay
        self.averages = flatten(list(self.model.parameters()))
        self.weights = flatten(list(model.parameters()))

    @torch.no_grad()
    def update(self, share: float | Tensor) -> None:
        """Move the averages towards the weights by a fraction of the difference, see `share`."""
        self.averages.lerp_(self.weights, share)

    def share(self, n: int) -> float:
        """The fraction of update n, counted from 0: 1 minus the decay."""
        return 1 - warmed_up(self.decay, n)


def warmed_up(decay: float, n: int) -> float:
    """The decay at update n, counted from 0."""
    return min(decay, (1 + n) / (10 + n))
