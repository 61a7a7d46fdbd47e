"""adaLN whose regression starts at zero, without a gate: one cell of the two by two."""

from __future__ import annotations

from ditbench.models.blocks.adaln import AdaLNBlock
from ditbench.models.init import zero


class AdaLNZeroInitBlock(AdaLNBlock):
    """`AdaLNBlock`, started like `AdaLNZeroBlock`: the effect of the zeros without the gate.

    With `adaln`, `adaln-gate` and `adaln-zero` it is the two by two of gate and zero
    initialisation that "Unveiling the Secret of AdaLN-Zero in Diffusion Transformer" (2024)
    studies. The whole regression is zero at the start, the final layer's included. Every norm is
    then a plain one and every branch is added in full, so that a block starts as a plain
    transformer block without conditioning.
    """

    summary = "adaLN whose regression starts at zero; no gate"
    formula = "(β, γ)₁,₂ = W SiLU(t + c), W = 0 at start;  x + F((1 + γ) LN x + β)"
    source = "Unveiling the Secret of AdaLN-Zero 2024, OpenReview E4roJSM9RM"
    starts_as = "unconditional"
    initial = (("*adaLN_modulation.*", zero),)
