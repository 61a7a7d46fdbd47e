"""Rotation modulation: the conditioning turns pairs of channels instead of shifting them."""

from __future__ import annotations

import torch
from torch import Tensor

from ditbench.models.blocks.base import Block, Conditioning, Spec
from ditbench.models.init import zero
from ditbench.models.layers import Modulation


class RotationBlock(Block):
    """adaLN-Zero with a rotation in place of the shift.

    Bill et al. 2025, rotation modulation combined with scaling. A rotation by D / 2 angles leaves
    the length of a token unchanged, and needs half the numbers of a shift. Choices made here: the
    gate stays, channels 2i and 2i + 1 form a pair, and the scale comes first.
    """

    summary = "adaLN-Zero with a rotation of pairs of channels for the shift"
    formula = "(θ, γ, α)₁,₂ = W SiLU(t + c), W = 0 at start;  x + α F(R(θ) (1 + γ) LN x)"
    source = "Bill et al. 2025, arXiv 2505.19122"
    starts_as = "identity"
    adaptive_final_layer = True
    initial = (("*adaLN_modulation.*", zero),)
    fused = True

    def __init__(self, spec: Spec, index: int) -> None:
        super().__init__(spec, index)
        self.adaLN_modulation = Modulation(spec, 5)

    def forward(self, x: Tensor, c: Conditioning) -> Tensor:
        scale1, gate1, scale2, gate2, angles = self.adaLN_modulation(c.vector)
        angle1, angle2 = angles.chunk(2, dim=-1)  # (N, 1, D / 2)
        x = self.branch(x, lambda y: self.attn(rotate(y, angle1)), None, scale1, gate1)
        return self.branch(x, lambda y: self.mlp(rotate(y, angle2)), None, scale2, gate2)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate channels 2i and 2i + 1 of x (N, T, D) by the i-th of the angles (N, 1, D / 2)."""
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.stack([cos * even - sin * odd, sin * even + cos * odd], dim=-1).flatten(-2)
