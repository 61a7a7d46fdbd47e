"""An exponential moving average of the weights, which is evaluated and sampled."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from ditbench.models.dit import DiT

# Numbers; each weight starts at a multiple of 256 bytes, as if it were allocated on its own.
ALIGNMENT = 64


class Ema:
    """A second model whose weights are the moving average of those of the first.

    The weights of both are moved into one storage each, `averages` and `weights`: an update is one
    operation. `decay` is an upper bound: with 0 the average equals the model; 1 is no bound.
    """

    def __init__(self, model: DiT, decay: float) -> None:
        self.model = copy.deepcopy(model)
        self.model.requires_grad_(requires_grad=False).eval()
        self.decay = decay
        self.averages = _flatten(self.model)
        self.weights = _flatten(model)

    @torch.no_grad()
    def update(self, share: float | Tensor) -> None:
        """Move the averages towards the weights by a fraction of the difference, see `share`."""
        self.averages.lerp_(self.weights, share)

    def share(self, n: int) -> float:
        """The fraction of update n, counted from 0: 1 minus the decay."""
        return 1 - warmed_up(self.decay, n)


def warmed_up(decay: float, n: int) -> float:
    """The decay at update n, counted from 0: at most (1 + n) / (10 + n).

    With a constant decay of 0.9999, 61% of the initial weights would be left after 5,000 updates.
    """
    return min(decay, (1 + n) / (10 + n))


@torch.no_grad()
def _flatten(model: DiT) -> Tensor:
    """Move all weights into one storage, with zeros in the gaps; they keep identity and shape."""
    weights = list(model.parameters())
    sizes = [-(-weight.numel() // ALIGNMENT) * ALIGNMENT for weight in weights]
    flat = torch.zeros(sum(sizes), dtype=weights[0].dtype, device=weights[0].device)
    for weight, place in zip(weights, flat.split(sizes), strict=True):
        view = place[: weight.numel()].view_as(weight)
        view.copy_(weight)
        weight.data = view
    return flat
