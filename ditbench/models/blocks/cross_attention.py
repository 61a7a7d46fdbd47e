"""Cross-attention conditioning: the image tokens read t and c from a sequence of two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from ditbench.models.blocks.base import Block, Conditioning, Spec
from ditbench.models.layers import CrossAttention

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ditbench.models.stream import Stream


class CrossAttentionBlock(Block):
    """A transformer block with a cross-attention after the self-attention.

    Peebles & Xie 2022, section 3.2: the costliest of the four, about 15% more Gflops.
    """

    summary = "cross-attention to the two embeddings after each self-attention"
    formula = "x + Attn(LN x) → x + CrossAttn(LN x, [t; c]) → x + MLP(LN x)"
    source = "Peebles & Xie 2022, arXiv 2212.09748, §3.2"

    def __init__(self, spec: Spec, index: int) -> None:
        super().__init__(spec, index)
        self.cross_attn = CrossAttention(spec.hidden_size, spec.num_heads)

    @classmethod
    def prepare(cls, blocks: Sequence[CrossAttentionBlock], c: Conditioning) -> Sequence[Tensor]:
        """Keys and values of both embeddings, (N, 2, 2 D) a block."""
        return CrossAttention.keys_and_values([block.cross_attn for block in blocks], c.tokens)

    def forward(self, x: Stream, kv: Tensor) -> Stream:
        """Transform the tokens x (N, T, D), which read from keys and values (N, 2, 2 D)."""
        x, y = x.norm()
        x, y = x.add(self.attn(y)).norm()
        x, y = x.add(self.cross_attn(y, kv)).norm()
        return x.add(self.mlp(y))
