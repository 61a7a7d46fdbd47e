"""A transformer block told six vectors: shift, scale and gate of its two branches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from ditbench.models.blocks.base import Block, Conditioning, Spec
from ditbench.models.layers import modulation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ditbench.models.stream import Stream

VECTORS = 6


class GatedBlock(Block):
    """x + α F((1 + γ) LN x + β) for F = Attn, MLP. Where β, γ and α come from is a subclass's."""

    def forward(self, x: Stream, modulations: Sequence[Tensor]) -> Stream:
        """Transform the tokens x (N, T, D) by its 6 modulations (N, 1, D)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = modulations
        x, y = x.norm(shift1, scale1)
        x, y = x.add(self.attn(y), gate1).norm(shift2, scale2)
        return x.add(self.mlp(y), gate2)


class SharedModulation(nn.Module):
    """One regression of six vectors for all blocks of a model."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.adaLN_modulation = modulation(hidden_size, VECTORS)

    def forward(self, c: Conditioning) -> tuple[Tensor, Tensor]:
        """The conditioning vector (N, D) and what is regressed from it, (N, 6, 1, D)."""
        vectors = self.adaLN_modulation(c.vector)
        return c.vector, vectors.unflatten(-1, (VECTORS, 1, c.vector.shape[-1]))


class SharedGatedBlock(GatedBlock):
    """A strategy whose `prepare` gets the model's one regression, for its blocks to add to."""

    @classmethod
    def shared(cls, spec: Spec) -> nn.Module:
        """The one regression."""
        return SharedModulation(spec.hidden_size)
