"""U-ViT: time and class as tokens, and long skip connections from shallow blocks to deep ones."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ditbench.models.blocks.base import Spec
from ditbench.models.blocks.in_context import InContextBlock
from ditbench.models.blocks.long_skips import run_with_skips, skip_linear


class UViTBlock(InContextBlock):
    """`InContextBlock` with long skip connections.

    Bao et al. 2022, section 3. The output of block i is concatenated to the input of block
    L - 1 - i of L, and a linear layer maps the 2 D numbers of each token to D. The paper's models
    have an odd L and one block in the middle; an even L has two, since a skip between neighbours
    would skip nothing.
    """

    summary = "t and c as tokens; long skips from shallow to deep blocks"
    formula = "[x; t; c];  xᵢ = Blockᵢ(W [x; x after block L-1-i]) in the deeper half"
    source = "Bao et al. 2022, arXiv 2209.12152, §3"

    def __init__(self, spec: Spec, index: int) -> None:
        super().__init__(spec, index)
        self.skip_linear = skip_linear(spec, index)

    @classmethod
    def run_blocks(cls, blocks: nn.ModuleList, x: Tensor, c: Any) -> Tensor:
        return run_with_skips(blocks, cls.append_tokens(x, c), c)  # (N, T + 2, D)
