"""In-context class conditioning: adaLN-Zero, and class tokens in the sequence of later blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ditbench.models.blocks.adaln_zero import AdaLNZeroBlock
from ditbench.models.blocks.class_tokens import ClassTokenBlock
from ditbench.models.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ditbench.models.blocks.base import Conditioning


class InContextClassBlock(ClassTokenBlock, AdaLNZeroBlock):
    """`AdaLNZeroBlock`; from block ⌊L / 3⌋ on, class tokens stand in the sequence too.

    Li & He 2025 (JiT), in-context class conditioning. `options.class_tokens` is their number: the
    paper's 32, which it has beside 256 image tokens; beside few image tokens, fewer may do. They
    enter where the paper's do, before block 4 of 12, 8 of 24 and 10 of 32. t and c modulate them as
    they do image tokens, and the final layer. Here they stand behind the image's tokens, not
    before: attention does not know the order. JiT's other parts (RMS norm, SwiGLU, rotary
    positions, normalised q and k) are not conditioning, and stay out.
    """

    summary = "adaLN-Zero, and class tokens in the sequence of later blocks"
    formula = "adaLN-Zero on x, from block ⌊L/3⌋ on on [x; c + p₁; ...; c + p_K]"
    source = "Li & He 2025 (JiT), arXiv 2511.13720"
    own_tokens = "of the class, from a third of the depth on"
    default_class_tokens = 32

    @classmethod
    def chain(
        cls,
        blocks: Sequence[InContextClassBlock],
        x: Tensor,
        c: tuple[Conditioning, Tensor],
    ) -> Tensor:
        """Pass the image tokens x (N, T, D), later with K others, through all blocks: (N, T, D)."""
        conditioning, own = c
        hidden = Stream(x)
        modulations = cls.prepare(blocks, conditioning)
        for index, (block, told) in enumerate(zip(blocks, modulations, strict=True)):
            if index == len(blocks) // 3:
                hidden = Stream(torch.cat([hidden.tokens(), own], dim=1))
            hidden = block(hidden, told)
        return hidden.tokens()[:, : x.shape[1]]
