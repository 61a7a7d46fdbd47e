"""Adaptive layer norm: shift and scale of both norms regressed from the conditioning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from ditbench.models.blocks.base import Block, Conditioning, Spec
from ditbench.models.layers import modulation, regress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ditbench.models.stream import Stream


class AdaLNBlock(Block):
    """A transformer block whose layer norms take shift and scale from the conditioning.

    Peebles & Xie 2022, section 3.2. The paper does not say how the regression starts: here it is
    Xavier-uniform with zero bias, like every other linear layer, in the final layer too.
    """

    summary = "shift and scale of each layer norm, regressed from t + c"
    formula = "(β, γ)₁,₂ = W SiLU(t + c);  x + F((1 + γ) LN x + β) for F = Attn, MLP"
    source = "Peebles & Xie 2022, arXiv 2212.09748, §3.2"
    adaptive_final_layer = True

    def __init__(self, spec: Spec, index: int) -> None:
        super().__init__(spec, index)
        self.adaLN_modulation = modulation(spec.hidden_size, 4)

    @classmethod
    def prepare(cls, blocks: Sequence[AdaLNBlock], c: Conditioning) -> Sequence[tuple[Tensor, ...]]:
        """Shifts and scales of every block: 4 vectors (N, 1, D) each."""
        return regress([block.adaLN_modulation for block in blocks], c.vector)

    def forward(self, x: Stream, modulations: tuple[Tensor, ...]) -> Stream:
        """Transform the tokens x (N, T, D) by its 4 modulations (N, 1, D)."""
        shift1, scale1, shift2, scale2 = modulations
        x, y = x.norm(shift1, scale1)
        x, y = x.add(self.attn(y)).norm(shift2, scale2)
        return x.add(self.mlp(y))
