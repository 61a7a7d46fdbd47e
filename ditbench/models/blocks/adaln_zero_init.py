"""adaLN with zero initialisation and without a gate."""

from __future__ import annotations

from ditbench.models.blocks.adaln import AdaLNBlock
from ditbench.models.init import zero


class AdaLNZeroInitBlock(AdaLNBlock):
    """`AdaLNBlock`, initialised like `AdaLNZeroBlock`: the effect of zero initialisation alone.

    With `adaln`, `adaln-gate` and `adaln-zero` it covers the four combinations of gate and zero
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
