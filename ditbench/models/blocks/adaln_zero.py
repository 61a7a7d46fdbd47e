"""adaLN-Zero: adaptive layer norm with a gate before each residual, started at zero."""

from __future__ import annotations

import torch
from torch import Tensor

from ditbench.models.blocks.base import Block, Conditioning
from ditbench.models.layers import modulate, modulation


class AdaLNZeroBlock(Block):
    """`AdaLNBlock` with gates; the zero-initialised regression makes it the identity at start.

    Peebles & Xie 2022, section 3.2. Parameter names are those of the published checkpoints.
    """

    summary = "adaLN with a gate before each residual; starts as the identity"
    formula = "(β, γ, α)₁,₂ = W SiLU(t + c), W = 0 at start;  x + α F((1 + γ) LN x + β)"
    source = "Peebles & Xie 2022, arXiv 2212.09748, §3.2"
    adaptive_final_layer = True
    zero_modulation = True

    def __init__(self, hidden_size: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__(hidden_size, num_heads, mlp_ratio)
        self.adaLN_modulation = modulation(hidden_size, 6)

    def forward(self, x: Tensor, c: Conditioning) -> Tensor:
        """Transform the tokens x (N, T, D), modulated and gated by c.vector (N, D)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = (
            self.adaLN_modulation(c.vector).unsqueeze(1).chunk(6, dim=-1)
        )
        x = torch.addcmul(x, gate1, self.attn(modulate(self.norm1(x), shift1, scale1)))
        return torch.addcmul(x, gate2, self.mlp(modulate(self.norm2(x), shift2, scale2)))
