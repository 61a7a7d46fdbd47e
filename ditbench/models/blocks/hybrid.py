"""Hybrid conditioning: the timestep by adaLN-Zero, the class by cross-attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from ditbench.models.blocks.adaln_zero import AdaLNZeroBlock
from ditbench.models.blocks.class_tokens import ClassTokenBlock
from ditbench.models.init import zero
from ditbench.models.layers import CrossAttention, regress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ditbench.models.blocks.base import Conditioning, Spec
    from ditbench.models.stream import Stream


class HybridBlock(ClassTokenBlock, AdaLNZeroBlock):
    """adaLN-Zero that is told t alone, with a cross-attention to the class after self-attention.

    The way of text-to-image models, here with a class for the text: Chen et al. 2023 (PixArt-α),
    section 2.3, whose adaLN-single is another strategy. As there the cross-attention has no gate
    and its output layer starts at zero, so that a block starts as the identity. Choices made
    here: it reads the plain norm of the tokens, as under `cross-attention`; a class is
    `options.class_tokens` tokens, 4 of them (see `ClassTokens`); and the final layer is told
    t alone, like the norms.
    """

    summary = "t by adaLN-Zero, the class by cross-attention"
    formula = (
        "(β, γ, α)₁,₂ = W SiLU(t), W = 0 at start;  x + α₁ Attn(..) → "
        "x + CrossAttn(LN x, [c + p₁; ...; c + p_K]) → x + α₂ MLP(..)"
    )
    source = "after Chen et al. 2023 (PixArt-α), arXiv 2310.00426, §2.3"
    initial = (("*adaLN_modulation.*", zero), ("blocks.*.cross_attn.proj.*", zero))

    def __init__(self, spec: Spec, index: int) -> None:
        super().__init__(spec, index)
        self.cross_attn = CrossAttention(spec.hidden_size, spec.num_heads)

    @classmethod
    def prepare(  # type: ignore[override]  # what `shared` makes is what it gets
        cls, blocks: Sequence[HybridBlock], c: tuple[Conditioning, Tensor]
    ) -> Sequence[tuple[Sequence[Tensor], Tensor]]:
        """Shifts, scales and gates (N, 1, D), keys and values (N, K, 2 D), of every block."""
        conditioning, tokens = c
        modulations = regress([block.adaLN_modulation for block in blocks], conditioning.t)
        kv = CrossAttention.keys_and_values([block.cross_attn for block in blocks], tokens)
        return list(zip(modulations, kv, strict=True))

    @classmethod
    def final_vector(cls, c: Conditioning) -> Tensor:
        """The timestep's embedding, (N, D)."""
        return c.t

    def forward(  # type: ignore[override]
        self, x: Stream, told: tuple[Sequence[Tensor], Tensor]
    ) -> Stream:
        """Transform the tokens x (N, T, D) by 6 modulations (N, 1, D) and what they read."""
        modulations, kv = told
        shift1, scale1, gate1, shift2, scale2, gate2 = modulations
        x, y = x.norm(shift1, scale1)
        x, y = x.add(self.attn(y), gate1).norm()
        x, y = x.add(self.cross_attn(y, kv)).norm(shift2, scale2)
        return x.add(self.mlp(y), gate2)
