"""A control: adaLN-Zero that reads the class and not the timestep."""

from __future__ import annotations

from ditbench.models.blocks.adaln_zero import AdaLNZeroBlock


class NoTimeBlock(AdaLNZeroBlock):
    """`AdaLNZeroBlock` in a model without a timestep embedder, which must infer the noise level."""

    summary = "adaLN-Zero with the class only: a control"
    formula = "(β, γ, α)₁,₂ = W SiLU(c), W = 0 at start;  x + α F((1 + γ) LN x + β)"
    source = "Sun et al. 2025, arXiv 2502.13129"
    reads_timestep = False
