"""Hunyuan-DiT's block: time by a shift, class by cross-attention, and long skip connections."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ditbench.models.blocks.base import Conditioning, Spec
from ditbench.models.blocks.class_tokens import ClassTokenBlock
from ditbench.models.blocks.long_skips import run_with_skips, skip_linear
from ditbench.models.init import zero
from ditbench.models.layers import CrossAttention, Modulation


class ShiftSkipBlock(ClassTokenBlock):
    """The norm before self-attention is shifted by t; the tokens read from the class.

    Li et al. 2024 (Hunyuan-DiT), section 2.1, and its block in diffusers, which this one equals
    with equal weights. The deeper half also receives the output of the shallower one: block i that
    of block L - 1 - i of L, through a norm of both and a linear layer (see `run_with_skips`). The
    class is `options.class_tokens` tokens (see `ClassTokens`) in place of a text; the shift and the
    final layer read t alone.
    """

    summary = "t shifts one norm, cross-attention to the class, long skips"
    formula = (
        "x = W LN [x; x after block L-1-i] in the deeper half;  x + Attn(LN x + W SiLU(t)) → "
        "x + CrossAttn(LN x, [c + p₁; ...; c + p_K]) → x + MLP(LN x)"
    )
    source = "Li et al. 2024 (Hunyuan-DiT), arXiv 2405.08748, §2.1"
    adaptive_final_layer = True
    initial = (("*adaLN_modulation.*", zero),)
    fused = True

    def __init__(self, spec: Spec, index: int) -> None:
        super().__init__(spec, index)
        self.adaLN_modulation = Modulation(spec, 1)
        self.cross_attn = CrossAttention(spec)
        self.skip_linear = skip_linear(spec, index, normed=True)

    @classmethod
    def run_blocks(cls, blocks: nn.ModuleList, x: Tensor, c: Any) -> Tensor:
        return run_with_skips(blocks, x, c)

    @classmethod
    def final_vector(cls, c: Conditioning) -> Tensor:
        return c.t

    def forward(self, x: Tensor, c: tuple[Conditioning, Tensor]) -> Tensor:
        conditioning, tokens = c  # tokens (N, K, D)
        (shift,) = self.adaLN_modulation(conditioning.t)  # (N, 1, D)
        x = self.branch(x, self.attn, shift)  # (N, T, D)
        x = self.branch(x, lambda y: self.cross_attn(y, tokens))
        return self.branch(x, self.mlp)
