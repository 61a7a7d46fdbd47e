"""In-context conditioning: the embeddings of t and c as two more tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ditbench.models.blocks.base import Block, Conditioning

if TYPE_CHECKING:
    from ditbench.models.stream import Stream


class InContextBlock(Block):
    """A plain transformer block; the conditioning is part of the sequence.

    The two tokens are appended once, get no position, are treated as image tokens by every block
    and are dropped after the last one. Peebles & Xie 2022, section 3.2.
    """

    summary = "two more tokens in the sequence, dropped after the last block"
    formula = "[x; t; c] → x + Attn(LN x) → x + MLP(LN x)"
    source = "Peebles & Xie 2022, arXiv 2212.09748, §3.2"

    @classmethod
    def join(cls, x: Tensor, c: Conditioning) -> Tensor:
        """Append the two conditioning tokens: (N, T, D) -> (N, T + 2, D)."""
        return torch.cat([x, c.tokens], dim=1)

    def forward(self, x: Stream, c: Conditioning) -> Stream:  # noqa: ARG002 (it is in x)
        """Transform the tokens x (N, T + 2, D)."""
        x, y = x.norm()
        x, y = x.add(self.attn(y)).norm()
        return x.add(self.mlp(y))
