"""Joint attention (MM-DiT): condition tokens with weights of their own, one attention over both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ditbench.models.blocks.class_tokens import ClassTokenBlock
from ditbench.models.blocks.gated import VECTORS
from ditbench.models.heads import Heads
from ditbench.models.init import zero
from ditbench.models.layers import Attention, Mlp, modulation, regress
from ditbench.models.ops import cross_attention, self_attention
from ditbench.models.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ditbench.models.blocks.base import Conditioning, Spec

Streams = tuple[Stream, Stream]
KEYS_ONLY = 2  # vectors of a context that nothing is added to: shift and scale of one norm


class JointBlock(ClassTokenBlock):
    """Two streams, image and context, each with its weights, that meet in one attention.

    Esser et al. 2024 (MM-DiT of Stable Diffusion 3), section 4. t + c modulates both streams as
    under adaLN-Zero. Choices made here: the context is the class, as `options.class_tokens`
    tokens, 4 of them (see `ClassTokens`), where the paper's is a text; t enters by modulation
    alone, as there; modulations start at zero, the final layer's included, so that a block
    starts as the identity; q and k are normalised only in a model that is switched to it, each
    stream's then by gains of its own, as there. The last block's context would be dropped: it has
    keys and values there and nothing else (the released models keep its queries, too).
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

    def __init__(self, spec: Spec, index: int) -> None:
        super().__init__(spec, index)
        D = spec.hidden_size
        self.is_last = index == spec.depth - 1
        self.adaLN_modulation = modulation(D, VECTORS)
        self.context_modulation = modulation(D, KEYS_ONLY if self.is_last else VECTORS)
        if self.is_last:
            self.context_kv = Heads(D, spec.num_heads, queries=False)
        else:
            self.context_attn = Attention(D, spec.num_heads)
            self.context_mlp = Mlp(D, spec.mlp_ratio)

    @classmethod
    def chain(
        cls, blocks: Sequence[JointBlock], x: Tensor, c: tuple[Conditioning, Tensor]
    ) -> Tensor:
        """Pass the image tokens x (N, T, D) and the context through all blocks: (N, T, D)."""
        _conditioning, context = c
        streams = Stream(x), Stream(context)
        for block, told in zip(blocks, cls.prepare(blocks, c), strict=True):
            streams = block(streams, told)
        return streams[0].tokens()

    @classmethod
    def prepare(
        cls, blocks: Sequence[JointBlock], c: tuple[Conditioning, Tensor]
    ) -> Sequence[tuple[Sequence[Tensor], Sequence[Tensor]]]:
        """Modulations (N, 1, D) of every block: 6 of the image, 6 or 2 of the context."""
        conditioning, _context = c
        of_both = [block.adaLN_modulation for block in blocks]
        of_both += [block.context_modulation for block in blocks]
        vectors = regress(of_both, conditioning.vector)
        return list(zip(vectors[: len(blocks)], vectors[len(blocks) :], strict=True))

    def forward(
        self, x: Streams, modulations: tuple[Sequence[Tensor], Sequence[Tensor]]
    ) -> Streams:
        """Transform image (N, T, D) and context (N, K, D) by the modulations of `prepare`."""
        image, context = x
        own, others = modulations
        image, y = image.norm(*own[:2])
        context, z = context.norm(*others[:2])
        if self.is_last:
            image = image.add(self.attn.proj(self._read(y, z)), own[2])
        else:
            y, z = self._attend(y, z)
            image = image.add(self.attn.proj(y), own[2])
            context = self._mapped(context.add(self.context_attn.proj(z), others[2]), others)
        image, y = image.norm(*own[3:5])
        return image.add(self.mlp(y), own[5]), context

    def _attend(self, y: Tensor, z: Tensor) -> list[Tensor]:
        """Attention of all tokens, y (N, T, D) and z (N, K, D), among themselves, parted again."""
        qkv = torch.cat([self.attn.qkv(y), self.context_attn.qkv(z)], dim=1)
        both = self_attention(qkv, self.attn.num_heads)
        return list(both.split([y.shape[1], z.shape[1]], dim=1))

    def _read(self, y: Tensor, z: Tensor) -> Tensor:
        """Attention of y (N, T, D) over all tokens, y and z (N, K, D)."""
        D = y.shape[-1]
        q, kv = self.attn.qkv(y).split([D, 2 * D], dim=-1)
        return cross_attention(q, torch.cat([kv, self.context_kv(z)], dim=1), self.attn.num_heads)

    def _mapped(self, context: Stream, vectors: Sequence[Tensor]) -> Stream:
        """The context (N, K, D) after its MLP, by its six vectors (N, 1, D)."""
        context, z = context.norm(*vectors[3:5])
        return context.add(self.context_mlp(z), vectors[5])
