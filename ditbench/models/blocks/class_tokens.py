"""Several tokens of one class, for blocks that append them or attend to them."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from ditbench.models.blocks.base import Block, Conditioning, Spec
from ditbench.models.extras import embedding
from ditbench.models.sizes import ModelSize


class ClassTokens(nn.Module):
    """The class embedding, repeated, plus a learned position of each copy.

    Li & He 2025 (JiT). As there, the positions start as N(0, 0.02²). With one token, attention
    would have nothing to choose from.
    """

    def __init__(self, count: int, hidden_size: int) -> None:
        super().__init__()
        self.positions = embedding(count, hidden_size)

    def forward(self, c: Conditioning) -> tuple[Conditioning, Tensor]:
        return c, c.c.unsqueeze(1) + self.positions.weight  # (N, K, D)


class ClassTokenBlock(Block):
    """A block that receives the pair of conditioning and class tokens (N, K, D)."""

    default_class_tokens: ClassVar[int] = 4

    @classmethod
    def options(cls, size: ModelSize) -> dict[str, int]:  # noqa: ARG003
        return {"class_tokens": cls.default_class_tokens}

    @classmethod
    def shared(cls, spec: Spec) -> nn.Module:
        return ClassTokens(spec.options["class_tokens"], spec.hidden_size)
