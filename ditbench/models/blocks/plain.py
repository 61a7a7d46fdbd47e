"""A transformer block without modulation, for blocks that condition by tokens."""

from __future__ import annotations

from torch import Tensor

from ditbench.models.blocks.base import Block


class PlainBlock(Block):
    """Self-attention and MLP: x + Attn(LN x), then x + MLP(LN x)."""

    fused = True

    def forward(self, x: Tensor, c: object) -> Tensor:  # noqa: ARG002 (the sequence has it)
        x = self.branch(x, self.attn)  # (N, T, D)
        return self.branch(x, self.mlp)
