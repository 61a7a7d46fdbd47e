"""adaLN-Zero without zero initialisation: the effect of the gate alone."""

from __future__ import annotations

from torch import Tensor

from ditbench.models.blocks.adaln_zero import AdaLNZeroBlock


def gates_at_one(bias: Tensor, _draws: object) -> None:
    """The bias (6 D,) of a regression of six vectors: one for the two gates, else zero."""
    vectors = bias.view(6, -1)  # shift, scale, gate, twice
    vectors.zero_()
    vectors[2::3] = 1


class AdaLNGateBlock(AdaLNZeroBlock):
    """`AdaLNZeroBlock`, initialised like `AdaLNBlock`: the effect of the gate alone.

    The regression is Xavier-uniform, the final layer's too, and its bias is one for gates: with a
    zero bias the small conditioning at the start would leave every gate near zero, and the block
    near the identity after all.
    """

    summary = "adaLN with a gate before each residual; gates start near one"
    formula = "(β, γ, α)₁,₂ = W SiLU(t + c) + b, b(α) = 1 at start;  x + α F((1 + γ) LN x + β)"
    source = "Unveiling the Secret of AdaLN-Zero 2024, OpenReview E4roJSM9RM"
    starts_as = "random"
    initial = (("blocks.*.adaLN_modulation.*.bias", gates_at_one),)
