"""adaLN-Zero: adaptive layer norm with a gate before each residual, started at zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from ditbench.models.blocks.base import Block, Conditioning
from ditbench.models.layers import modulation, regress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ditbench.models.stream import Stream


class AdaLNZeroBlock(Block):
    """`AdaLNBlock` with gates; the zero-initialised regression makes it the identity at start.

    Peebles & Xie 2022, section 3.2. Parameter names are those of the published checkpoints.
    """

    summary = "adaLN with a gate before each residual; starts as the identity"
    formula = "(β, γ, α)₁,₂ = W SiLU(t + c), W = 0 at start;  x + α F((1 + γ) LN x + β)"
    source = "Peebles & Xie 2022, arXiv 2212.09748, §3.2"
    adaptive_final_layer = True
    zero_modulation = True

    def __init__(self, hidden_size: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__(hidden_size, num_heads, mlp_ratio)
        self.adaLN_modulation = modulation(hidden_size, 6)

    @classmethod
    def prepare(
        cls, blocks: Sequence[AdaLNZeroBlock], c: Conditioning
    ) -> Sequence[tuple[Tensor, ...]]:
        """Shifts, scales and gates of every block: 6 vectors (N, 1, D) each."""
        return regress([block.adaLN_modulation for block in blocks], c.vector)

    def forward(self, x: Stream, modulations: tuple[Tensor, ...]) -> Stream:
        """Transform the tokens x (N, T, D) by its 6 modulations (N, 1, D)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = modulations
        x, y = x.norm(shift1, scale1)
        x, y = x.add(self.attn(y), gate1).norm(shift2, scale2)
        return x.add(self.mlp(y), gate2)
