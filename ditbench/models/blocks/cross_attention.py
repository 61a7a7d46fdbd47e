"""Cross-attention conditioning: the image tokens read t and c from a sequence of two."""

from __future__ import annotations

from torch import Tensor

from ditbench.models.blocks.base import Block, Conditioning, Spec
from ditbench.models.layers import CrossAttention


class CrossAttentionBlock(Block):
    """A transformer block with a cross-attention after the self-attention.

    Peebles & Xie 2022, section 3.2: the most expensive of the four, about 15% more Gflops.
    """

    summary = "cross-attention to the two embeddings after each self-attention"
    formula = "x + Attn(LN x) → x + CrossAttn(LN x, [t; c]) → x + MLP(LN x)"
    source = "Peebles & Xie 2022, arXiv 2212.09748, §3.2"
    fused = True

    def __init__(self, spec: Spec, index: int) -> None:
        super().__init__(spec, index)
        self.cross_attn = CrossAttention(spec)

    def forward(self, x: Tensor, c: Conditioning) -> Tensor:
        x = self.branch(x, self.attn)  # (N, T, D)
        x = self.branch(x, lambda y: self.cross_attn(y, c.tokens))  # reads from (N, 2, D)
        return self.branch(x, self.mlp)
