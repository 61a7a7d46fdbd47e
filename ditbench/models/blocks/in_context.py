"""In-context conditioning: the embeddings of t and c as two more tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from ditbench.models.blocks.base import Conditioning
from ditbench.models.blocks.plain import PlainBlock


class InContextBlock(PlainBlock):
    """A plain transformer block; the conditioning is part of the sequence.

    The two tokens are appended once and have no position. Every block treats them as image tokens,
    and they are dropped after the last one. Peebles & Xie 2022, section 3.2.
    """

    summary = "two more tokens in the sequence, dropped after the last block"
    formula = "[x; t; c] → x + Attn(LN x) → x + MLP(LN x)"
    source = "Peebles & Xie 2022, arXiv 2212.09748, §3.2"
    own_tokens = "t and c"

    @classmethod
    def append_tokens(cls, x: Tensor, c: Conditioning) -> Tensor:
        return torch.cat([x, c.tokens.type_as(x)], dim=1)  # (N, T, D) -> (N, T + 2, D)
