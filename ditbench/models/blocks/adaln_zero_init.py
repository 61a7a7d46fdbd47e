"""adaLN with zero initialisation and without a gate."""

from __future__ import annotations

from ditbench.models.blocks.adaln import AdaLNBlock
from ditbench.models.init import zero


class AdaLNZeroInitBlock(AdaLNBlock):
    """`AdaLNBlock`, initialised like `AdaLNZeroBlock`: the effect of zero initialisation alone.

    Every norm is then a plain one and every branch is added in full: a block starts as a plain
    transformer block without conditioning.
    """

    summary = "adaLN whose regression starts at zero; no gate"
    formula = "(β, γ)₁,₂ = W SiLU(t + c), W = 0 at start;  x + F((1 + γ) LN x + β)"
    source = "Unveiling the Secret of AdaLN-Zero 2024, OpenReview E4roJSM9RM"
    starts_as = "unconditional"
    initial = (("*adaLN_modulation.*", zero),)
