"""Modules that the paper's model does not have: for switches and for blocks of other papers."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class HeadNorm(nn.RMSNorm):
    """RMS norm over each head's part of a token; all heads share one gain (D / h,), 1 at start."""

    def __init__(self, head_size: int) -> None:
        super().__init__(head_size, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        # x (N, T, D), in the gain's type
        heads = x.unflatten(-1, (-1, self.weight.shape[0])).type_as(self.weight)
        return super().forward(heads).flatten(-2).type_as(x)


def embedding(count: int, hidden_size: int) -> nn.Embedding:
    """A table (count, D) that `initialize` fills: nn.Embedding(...) would fill it at once."""
    return nn.Embedding.from_pretrained(torch.empty(count, hidden_size), freeze=False)


class Registers(nn.Module):
    """Learned tokens beside the image's (Darcet et al. 2023, arXiv 2309.16588, section 2.2).

    Blocks treat them as image tokens; nothing reads them after the last block. As in the paper they
    have no position. They start as N(0, 0.02²), a choice made here.
    """

    def __init__(self, hidden_size: int, count: int) -> None:
        super().__init__()
        self.tokens = embedding(count, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.tokens.weight.expand(len(x), -1, -1).type_as(x)  # (N, R, D)
        return torch.cat([x, tokens], dim=1)
