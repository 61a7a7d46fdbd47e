"""Joint attention (MM-DiT): class tokens with weights of their own, one attention over both."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ditbench.models.blocks.base import Conditioning, Spec
from ditbench.models.blocks.class_tokens import ClassTokenBlock
from ditbench.models.init import zero
from ditbench.models.layers import QKV, Attention, Mlp, Modulation


class JointBlock(ClassTokenBlock):
    """Two streams, image and context, each with its weights, that meet in one attention.

    Esser et al. 2024 (MM-DiT of Stable Diffusion 3), section 4. t + c modulates both streams as
    under adaLN-Zero. The context is `options.class_tokens` tokens of the class (see `ClassTokens`)
    in place of a text. What the last block returns of it is not used, so that block computes its
    keys and values only (the released models compute queries, too).
    """

    summary = "class tokens with weights of their own in one joint attention"
    formula = (
        "[x; z] + α Attn([W₁ x'; W₂ z']), x' = (1 + γ) LN x + β, likewise z;  each its own MLP"
    )
    source = "Esser et al. 2024 (Stable Diffusion 3), arXiv 2403.03206, §4"
    own_tokens = "of the class"
    starts_as = "identity"
    adaptive_final_layer = True
    initial = (("*adaLN_modulation.*", zero), ("blocks.*.context_modulation.*", zero))
    fused = True

    def __init__(self, spec: Spec, index: int) -> None:
        super().__init__(spec, index)
        self.is_last = index == spec.depth - 1
        self.adaLN_modulation = Modulation(spec, 6)
        self.context_modulation = Modulation(spec, 2 if self.is_last else 6)
        if self.is_last:
            self.context_kv = QKV(spec, queries=False)
        else:
            self.context_attn = Attention(spec)
            self.context_mlp = Mlp(spec)

    @classmethod
    def run_blocks(cls, blocks: nn.ModuleList, x: Tensor, c: tuple[Conditioning, Tensor]) -> Tensor:
        conditioning, context = c[0], c[1].type_as(x)
        for block in blocks:
            x, context = block(x, context, conditioning)
        return x

    def forward(  # type: ignore[override]
        self, x: Tensor, context: Tensor, c: Conditioning
    ) -> tuple[Tensor, Tensor]:
        ops = self.spec.ops
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(c.vector)
        of_context = self.context_modulation(c.vector)
        y = ops.norm(x, shift1, scale1, self.spec.norm)  # (N, T, D)
        z = ops.norm(context, *of_context[:2], self.spec.norm)  # (N, K, D)
        if self.is_last:
            y = self._attend_to_both(y, z)
        else:
            y, z = self._attend_jointly(y, z)
            context = ops.add(context, self.context_attn.proj(z), of_context[2])
            context = self.branch(context, self.context_mlp, *of_context[3:])
        x = ops.add(x, self.attn.proj(y), gate1)
        return self.branch(x, self.mlp, shift2, scale2, gate2), context

    def _attend_jointly(self, y: Tensor, z: Tensor) -> tuple[Tensor, ...]:
        """Attention among all tokens, y (N, T, D) and z (N, K, D), split again."""
        qkv = torch.cat([self.attn.qkv(y), self.context_attn.qkv(z)], dim=1)
        both = self.spec.ops.attention(qkv, self.spec.num_heads)
        return both.split([y.shape[1], z.shape[1]], dim=1)

    def _attend_to_both(self, y: Tensor, z: Tensor) -> Tensor:
        """Attention of y (N, T, D) to all tokens, y and z (N, K, D)."""
        D = y.shape[-1]
        q, kv = self.attn.qkv(y).split([D, 2 * D], dim=-1)
        kv = torch.cat([kv, self.context_kv(z)], dim=1)
        return self.spec.ops.cross_attention(q, kv, self.spec.num_heads)
