"""U-ViT: time and class as tokens, and long skip connections from shallow blocks to deep ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ditbench.models.blocks.in_context import InContextBlock
from ditbench.models.ops import Linear
from ditbench.models.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ditbench.models.blocks.base import Spec


def skips(depth: int) -> int:
    """How many of the first blocks hand their tokens to as many of the last."""
    return (depth - 1) // 2


class UViTBlock(InContextBlock):
    """`InContextBlock` with long skip connections.

    Bao et al. 2022, section 3. The tokens after block i go to block L - 1 - i of L, which puts
    them beside its own and maps the 2 D numbers of each token to D by a linear layer; there are
    ⌊(L - 1) / 2⌋ such pairs. The paper's models have one block more in their middle, of an odd L;
    an even L has two blocks there, since a skip between neighbours would skip nothing, and below
    three blocks this is `in-context`. What is not conditioning stays as in every strategy, unlike
    the paper: fixed positions, none for the two tokens, norms without gain and bias, and no
    convolution at the end. The linear layers start Xavier-uniform.
    """

    summary = "t and c as tokens; long skips from shallow to deep blocks"
    formula = "[x; t; c];  xᵢ = Blockᵢ(W [x; x after block L-1-i]) in the deeper half"
    source = "Bao et al. 2022, arXiv 2209.12152, §3"

    def __init__(self, spec: Spec, index: int) -> None:
        super().__init__(spec, index)
        receives = index >= spec.depth - skips(spec.depth)
        D = spec.hidden_size
        self.skip_linear = Linear(2 * D, D) if receives else None

    @classmethod
    def chain(cls, blocks: Sequence[UViTBlock], x: Tensor, c: Any) -> Tensor:
        """Pass the image tokens x (N, T, D) and the two others through all blocks: (N, T, D)."""
        tokens = cls.join(x, c)
        kept: list[Tensor] = []
        for index, (block, told) in enumerate(zip(blocks, cls.prepare(blocks, c), strict=True)):
            if block.skip_linear is not None:
                tokens = block.receive(tokens, kept.pop())
            tokens = block(Stream(tokens), told).tokens()
            if index < skips(len(blocks)):
                kept.append(tokens)
        return tokens[:, : x.shape[1]]

    def receive(self, x: Tensor, skipped: Tensor) -> Tensor:
        """The tokens x (N, T, D) and those of a shallow block (N, T, D) in one: (N, T, D)."""
        assert self.skip_linear is not None
        # In x's type: the residual stream stays float32 where products are in half precision.
        return self.skip_linear(torch.cat([x, skipped], dim=-1)).type_as(x)
