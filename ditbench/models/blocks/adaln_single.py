"""adaLN-single: one regression for all blocks, and a table of its own in each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ditbench.models.blocks.gated import VECTORS, SharedGatedBlock
from ditbench.models.init import normal, unit_rows, zero

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ditbench.models.blocks.base import Spec


class AdaLNSingleBlock(SharedGatedBlock):
    """A block whose six vectors are the model's, regressed once, plus a learned table.

    Chen et al. 2023 (PixArt-α), section 2.3. There the regression is of the timestep, and a text
    comes by cross-attention; here it is of t + c, so that it differs from adaLN-Zero in what the
    blocks share and in nothing else. Started as the released models are: the table N(0, 1/D), the
    regression N(0, 0.02²). Gates are so about 1/√D, small, and not zero. The final layer has the
    regression that it has under adaLN-Zero, zero at the start; PixArt's adds the embedding to
    another table.
    """

    summary = "adaLN-Zero's vectors regressed once, plus a table a block"
    formula = "(β, γ, α)₁,₂ = W SiLU(t + c) + Eᵢ, one W for all blocks;  x + α F((1 + γ) LN x + β)"
    source = "Chen et al. 2023 (PixArt-α), arXiv 2310.00426, §2.3"
    starts_as = "near identity"
    adaptive_final_layer = True
    initial = (
        ("blocks.*.scale_shift_table", unit_rows),
        ("shared.adaLN_modulation.*.weight", normal(0.02)),
        ("final_layer.adaLN_modulation.*", zero),
    )

    def __init__(self, spec: Spec, index: int) -> None:
        super().__init__(spec, index)
        self.scale_shift_table = nn.Parameter(torch.empty(VECTORS, spec.hidden_size))

    @classmethod
    def prepare(
        cls, blocks: Sequence[AdaLNSingleBlock], c: tuple[Tensor, Tensor]
    ) -> Sequence[tuple[Tensor, ...]]:
        """Shifts, scales and gates of every block: 6 vectors (N, 1, D) each."""
        _vector, modulations = c
        tables = torch.stack([block.scale_shift_table for block in blocks])  # (depth, 6, D)
        of_all = modulations.unsqueeze(1) + tables.unsqueeze(2)  # (N, depth, 6, 1, D)
        return [vectors.unbind(1) for vectors in of_all.unbind(1)]
