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
    of block L - 1 - i of L, through a norm of both and a linear layer (see `run_with_skips`). As in
    the released code, the regressions start at zero, the final layer's included, and nothing has a
    gate. Choices made here: the class is `options.class_tokens` tokens, 4 by default (see
    `ClassTokens`), in place of a text; the shift and the final layer read t alone, where the
    released models add a pooled text to it; rotary positions, and gains and biases of norms, are
    left out, and normalised q and k are a switch.
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
        """Pass the tokens x (N, T, D) through all blocks."""
        return run_with_skips(blocks, x, c)

    @classmethod
    def final_vector(cls, c: Conditioning) -> Tensor:
        """The timestep's embedding, (N, D)."""
        return c.t

    def forward(self, x: Tensor, c: tuple[Conditioning, Tensor]) -> Tensor:
        """Transform the tokens x (N, T, D), which read from K class tokens (N, K, D)."""
        conditioning, tokens = c
        (shift,) = self.adaLN_modulation(conditioning.t)
        x = self.branch(x, self.attn, shift)
        x = self.branch(x, lambda y: self.cross_attn(y, tokens))
        return self.branch(x, self.mlp)
