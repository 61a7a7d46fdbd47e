"""Cross-attention conditioning: the image tokens read t and c from a sequence of two."""

from __future__ import annotations

from torch import Tensor

from ditbench.models.blocks.base import Block, Conditioning
from ditbench.models.layers import CrossAttention, norm


class CrossAttentionBlock(Block):
    """A transformer block with a cross-attention after the self-attention.

    Peebles & Xie 2022, section 3.2: the costliest of the four, about 15% more Gflops.
    """

    summary = "cross-attention to the two embeddings after each self-attention"
    formula = "x + Attn(LN x) → x + CrossAttn(LN x, [t; c]) → x + MLP(LN x)"
    source = "Peebles & Xie 2022, arXiv 2212.09748, §3.2"

    def __init__(self, hidden_size: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__(hidden_size, num_heads, mlp_ratio)
        self.norm_cross = norm(hidden_size)
        self.cross_attn = CrossAttention(hidden_size, num_heads)

    def forward(self, x: Tensor, c: Conditioning) -> Tensor:
        """Transform the tokens x (N, T, D), which read from c.tokens (N, 2, D)."""
        x = x + self.attn(self.norm1(x))
        x = x + self.cross_attn(self.norm_cross(x), c.tokens)
        return x + self.mlp(self.norm2(x))
