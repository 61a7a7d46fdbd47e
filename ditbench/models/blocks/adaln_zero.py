"""adaLN-Zero: adaptive layer norm with a gate before each residual, started at zero."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from ditbench.models.blocks.base import Block, Conditioning, Spec
from ditbench.models.init import Rules, zero
from ditbench.models.layers import Modulation


class AdaLNZeroBlock(Block):
    """`AdaLNBlock` with gates; the zero-initialised regression makes it the identity at start.

    Peebles & Xie 2022, section 3.2. Parameter names are those of the published checkpoints.
    """

    summary = "adaLN with a gate before each residual; starts as the identity"
    formula = "(β, γ, α)₁,₂ = W SiLU(t + c), W = 0 at start;  x + α F((1 + γ) LN x + β)"
    source = "Peebles & Xie 2022, arXiv 2212.09748, §3.2"
    starts_as = "identity"
    adaptive_final_layer = True
    initial: ClassVar[Rules] = (("*adaLN_modulation.*", zero),)
    fused = True

    def __init__(self, spec: Spec, index: int) -> None:
        super().__init__(spec, index)
        self.adaLN_modulation = Modulation(spec, 6)

    def forward(self, x: Tensor, c: Conditioning) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(c.vector)  # (N, 1, D)
        x = self.branch(x, self.attn, shift1, scale1, gate1)  # (N, T, D)
        return self.branch(x, self.mlp, shift2, scale2, gate2)
