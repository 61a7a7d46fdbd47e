"""A transformer block without conditioning of its own: what strategies with tokens are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ditbench.models.blocks.base import Block

if TYPE_CHECKING:
    from ditbench.models.stream import Stream


class PlainBlock(Block):
    """Self-attention and MLP, each behind a layer norm: x + Attn(LN x), then x + MLP(LN x)."""

    def forward(self, x: Stream, told: object) -> Stream:  # noqa: ARG002 (it is in x, or nowhere)
        """Transform the tokens x (N, T, D)."""
        x, y = x.norm()
        x, y = x.add(self.attn(y)).norm()
        return x.add(self.mlp(y))
