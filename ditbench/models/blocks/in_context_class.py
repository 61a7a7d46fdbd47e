"""In-context class conditioning: adaLN-Zero, and class tokens in the sequence of later blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ditbench.models.blocks.adaln_zero import AdaLNZeroBlock
from ditbench.models.blocks.base import Conditioning
from ditbench.models.blocks.class_tokens import ClassTokenBlock


class InContextClassBlock(ClassTokenBlock, AdaLNZeroBlock):
    """`AdaLNZeroBlock`; from block ⌊L / 3⌋ on, class tokens are part of the sequence.

    Li & He 2025 (JiT). `options.class_tokens` is their number: the paper's 32, which it uses with
    256 image tokens; with few image tokens, fewer may do. t and c modulate them as they modulate
    image tokens. They follow these instead of preceding them, which attention cannot distinguish.
    """

    summary = "adaLN-Zero, and class tokens in the sequence of later blocks"
    formula = "adaLN-Zero on x, from block ⌊L/3⌋ on with [x; c + p₁; ...; c + p_K]"
    source = "Li & He 2025 (JiT), arXiv 2511.13720"
    own_tokens = "of the class, from a third of the depth on"
    default_class_tokens = 32

    @classmethod
    def run_blocks(cls, blocks: nn.ModuleList, x: Tensor, c: tuple[Conditioning, Tensor]) -> Tensor:
        conditioning, class_tokens = c
        for index, block in enumerate(blocks):
            if index == len(blocks) // 3:
                x = torch.cat([x, class_tokens.type_as(x)], dim=1)  # (N, T + K, D)
            x = block(x, conditioning)
        return x
