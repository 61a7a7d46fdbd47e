"""Several tokens of one class: what strategies put beside the image tokens or attend to."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from ditbench.models.blocks.base import Block

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ditbench.models.blocks.base import Conditioning, Spec
    from ditbench.models.sizes import ModelSize


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


class ClassTokenBlock(Block):
    """A strategy whose `chain` and `prepare` get the conditioning with class tokens beside it."""

    default_class_tokens: ClassVar[int] = 4

    @classmethod
    def options(cls, size: ModelSize) -> Mapping[str, int]:  # noqa: ARG003
        """The number of class tokens."""
        return {"class_tokens": cls.default_class_tokens}

    @classmethod
    def shared(cls, spec: Spec) -> nn.Module:
        """The class tokens."""
        return ClassTokens(spec.options["class_tokens"], spec.hidden_size)
