"""An exponential moving average of the weights: what is evaluated and sampled."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from ditbench.training.flat import flatten

M = TypeVar("M", bound=nn.Module)


class Ema(Generic[M]):
    """A second model whose weights trail those of the first.

    The decay warms up as min(decay, (1 + n) / (10 + n)) over updates n: a constant 0.9999 would
    still hold 61% of the initial weights after 5,000 steps.

    Args:
        model: the one that is trained; its weights are moved into one storage, so that an update
            is one operation.
        decay: the bound of the decay; 0 follows the model exactly, 1 is no bound.

    Attributes:
        model: the second model.
        averages: all of its weights (numbers,).
        weights: all of the first model's (numbers,).
    """

    def __init__(self, model: M, decay: float) -> None:
        self.model: M = copy.deepcopy(model)
        self.model.requires_grad_(requires_grad=False).eval()
        self.decay = decay
        self.averages = flatten(list(self.model.parameters()))
        self.weights = flatten(list(model.parameters()))

    @torch.no_grad()
    def update(self, share: float | Tensor) -> None:
        """Move towards the model's weights by a share of the way, see `share`."""
        self.averages.lerp_(self.weights, share)

    def share(self, n: int) -> float:
        """How far to move after the model's update number n, counted from 0."""
        return 1 - warmed_up(self.decay, n)


def warmed_up(decay: float, n: int) -> float:
    """The decay of update number n, counted from 0."""
    return min(decay, (1 + n) / (10 + n))
