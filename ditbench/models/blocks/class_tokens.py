"""Several tokens of one class: what strategies put beside the image tokens or attend to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from ditbench.models.blocks.base import Conditioning


class ClassTokens(nn.Module):
    """The class embedding, once a token, plus a learned position of each.

    Li & He 2025 (JiT); there as here the positions start as N(0, 0.02²). One token alone would
    leave an attention to it nothing to choose from.
    """

    def __init__(self, count: int, hidden_size: int) -> None:
        super().__init__()
        # Of no weights yet, like the label table: `ditbench.models.init` fills it.
        self.positions = nn.Embedding.from_pretrained(torch.empty(count, hidden_size), freeze=False)

    def forward(self, c: Conditioning) -> tuple[Conditioning, Tensor]:
        """The conditioning itself, and the class tokens (N, count, D)."""
        return c, c.c.unsqueeze(1) + self.positions.weight
