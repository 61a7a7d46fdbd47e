"""Adaptive layer norm: shift and scale of both norms regressed from the conditioning."""

from __future__ import annotations

from torch import Tensor

from ditbench.models.blocks.base import Block, Conditioning, Spec
from ditbench.models.layers import Modulation


class AdaLNBlock(Block):
    """A transformer block whose layer norms take shift and scale from the conditioning.

    Peebles & Xie 2022, section 3.2. The paper does not say how the regression starts. Here it is
    Xavier-uniform with zero bias, like every other linear layer, in the final layer too.
    """

    summary = "shift and scale of each layer norm, regressed from t + c"
    formula = "(β, γ)₁,₂ = W SiLU(t + c);  x + F((1 + γ) LN x + β) for F = Attn, MLP"
    source = "Peebles & Xie 2022, arXiv 2212.09748, §3.2"
    adaptive_final_layer = True
    fused = True

    def __init__(self, spec: Spec, index: int) -> None:
        super().__init__(spec, index)
        self.adaLN_modulation = Modulation(spec, 4)

    def forward(self, x: Tensor, c: Conditioning) -> Tensor:
        shift1, scale1, shift2, scale2 = self.adaLN_modulation(c.vector)  # (N, 1, D) each
        x = self.branch(x, self.attn, shift1, scale1)  # (N, T, D)
        return self.branch(x, self.mlp, shift2, scale2)
