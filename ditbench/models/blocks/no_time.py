"""A control: adaLN-Zero that is told the class and not the timestep."""

from __future__ import annotations

from ditbench.models.blocks.adaln_zero import AdaLNZeroBlock


class NoTimeBlock(AdaLNZeroBlock):
    """`AdaLNZeroBlock` whose model has no timestep embedder: it must tell noise from the image.

    Sun et al. 2025 train such models, most of which get only a little worse. Nothing of t reaches
    the final layer either.
    """

    summary = "adaLN-Zero told the class only: a control"
    formula = "(β, γ, α)₁,₂ = W SiLU(c), W = 0 at start;  x + α F((1 + γ) LN x + β)"
    source = "Sun et al. 2025, arXiv 2502.13129"
    reads_timestep = False
