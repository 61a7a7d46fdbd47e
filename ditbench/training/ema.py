"""An exponential moving average of the weights: what is evaluated and sampled."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class Ema(Generic[M]):
    """A second model whose weights trail those of the first.

    The decay warms up as min(decay, (1 + n) / (10 + n)) over updates n: a constant 0.9999 would
    still hold 61% of the initial weights after 5,000 steps.

    Args:
        model: the one that is trained.
        decay: the bound of the decay; 0 follows the model exactly, 1 is no bound.
    """

    def __init__(self, model: M, decay: float) -> None:
        self.model: M = copy.deepcopy(model)
        self.model.requires_grad_(requires_grad=False).eval()
        self.decay = decay
        self._averages: list[Tensor] = list(self.model.parameters())
        self._weights = [weight.detach() for weight in model.parameters()]

    @torch.no_grad()
    def update(self, n: int) -> None:
        """Move towards the model's weights after its update number n, counted from 0."""
        # One fused call over all tensors: a loop would launch a kernel for each.
        torch._foreach_lerp_(self._averages, self._weights, 1 - warmed_up(self.decay, n))


def warmed_up(decay: float, n: int) -> float:
    """The decay of update number n, counted from 0."""
    return min(decay, (1 + n) / (10 + n))
