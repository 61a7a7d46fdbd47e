"""Adaptive layer norm: shift and scale of both norms regressed from the conditioning."""

from __future__ import annotations

from torch import Tensor

from ditbench.models.blocks.base import Block, Conditioning
from ditbench.models.layers import modulate, modulation


class AdaLNBlock(Block):
    """A transformer block whose layer norms take shift and scale from the conditioning.

    Peebles & Xie 2022, section 3.2. The paper does not say how the regression starts: here it is
    Xavier-uniform with zero bias, like every other linear layer, in the final layer too.
    """

    summary = "shift and scale of each layer norm, regressed from t + c"
    formula = "(β, γ)₁,₂ = W SiLU(t + c);  x + F((1 + γ) LN x + β) for F = Attn, MLP"
    source = "Peebles & Xie 2022, arXiv 2212.09748, §3.2"
    adaptive_final_layer = True

    def __init__(self, hidden_size: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__(hidden_size, num_heads, mlp_ratio)
        self.adaLN_modulation = modulation(hidden_size, 4)

    def forward(self, x: Tensor, c: Conditioning) -> Tensor:
        """Transform the tokens x (N, T, D), modulated by c.vector (N, D)."""
        shift1, scale1, shift2, scale2 = (
            self.adaLN_modulation(c.vector).unsqueeze(1).chunk(4, dim=-1)
        )
        x = x + self.attn(modulate(self.norm1(x), shift1, scale1))
        return x + self.mlp(modulate(self.norm2(x), shift2, scale2))
