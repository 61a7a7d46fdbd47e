"""Hybrid conditioning: the timestep by adaLN-Zero, the class by cross-attention."""

from __future__ import annotations

from torch import Tensor

from ditbench.models.blocks.base import Conditioning, Spec
from ditbench.models.blocks.class_tokens import ClassTokenBlock
from ditbench.models.init import zero
from ditbench.models.layers import CrossAttention, Modulation


class HybridBlock(ClassTokenBlock):
    """adaLN-Zero that reads t alone, with a cross-attention to the class after self-attention.

    After Chen et al. 2023 (PixArt-α), section 2.3, with `options.class_tokens` tokens of the class
    (see `ClassTokens`) in place of a text. As there, the cross-attention has no gate and its output
    layer starts at zero. The final layer reads t alone, like the norms.
    """

    summary = "t by adaLN-Zero, the class by cross-attention"
    formula = (
        "(β, γ, α)₁,₂ = W SiLU(t), W = 0 at start;  x + α₁ Attn(..) → "
        "x + CrossAttn(LN x, [c + p₁; ...; c + p_K]) → x + α₂ MLP(..)"
    )
    source = "after Chen et al. 2023 (PixArt-α), arXiv 2310.00426, §2.3"
    starts_as = "identity"
    adaptive_final_layer = True
    initial = (("*adaLN_modulation.*", zero), ("blocks.*.cross_attn.proj.*", zero))
    fused = True

    def __init__(self, spec: Spec, index: int) -> None:
        super().__init__(spec, index)
        self.adaLN_modulation = Modulation(spec, 6)
        self.cross_attn = CrossAttention(spec)

    @classmethod
    def final_vector(cls, c: Conditioning) -> Tensor:
        return c.t

    def forward(self, x: Tensor, c: tuple[Conditioning, Tensor]) -> Tensor:
        conditioning, tokens = c  # tokens (N, K, D)
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(conditioning.t)
        x = self.branch(x, self.attn, shift1, scale1, gate1)  # (N, T, D)
        x = self.branch(x, lambda y: self.cross_attn(y, tokens))
        return self.branch(x, self.mlp, shift2, scale2, gate2)
