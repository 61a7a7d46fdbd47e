"""adaLN-single: one regression for all blocks, and a learned table in each."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ditbench.models.blocks.base import Spec
from ditbench.models.blocks.shared_modulation import VECTORS, SharedModulationBlock
from ditbench.models.init import normal, unit_rows, zero


class AdaLNSingleBlock(SharedModulationBlock):
    """A block whose six vectors are a regression shared by all blocks plus its own learned table.

    Chen et al. 2023 (PixArt-α), section 2.3. There the regression reads the timestep alone. It
    starts as the released models do: the table N(0, 1/D), the regression N(0, 0.02²). Gates are
    therefore about 1/√D at the start, small but not zero.
    """

    summary = "adaLN-Zero's vectors regressed once, plus a table per block"
    formula = "(β, γ, α)₁,₂ = W SiLU(t + c) + Eᵢ, one W for all blocks;  x + α F((1 + γ) LN x + β)"
    source = "Chen et al. 2023 (PixArt-α), arXiv 2310.00426, §2.3"
    starts_as = "near identity"
    initial = (
        ("blocks.*.scale_shift_table", unit_rows),
        ("shared.adaLN_modulation.*.weight", normal(0.02)),
        ("final_layer.adaLN_modulation.*", zero),
    )

    def __init__(self, spec: Spec, index: int) -> None:
        super().__init__(spec, index)
        self.scale_shift_table = nn.Parameter(torch.empty(VECTORS, spec.hidden_size))

    def vectors(self, vector: Tensor, shared: Tensor) -> Tensor:  # noqa: ARG002
        return shared + self.scale_shift_table  # (N, 6, D) + (6, D)
