"""One modulation for all blocks, with nothing of their own."""

from __future__ import annotations

from torch import Tensor

from ditbench.models.blocks.shared_modulation import SharedModulationBlock
from ditbench.models.init import zero


class AdaLNSharedBlock(SharedModulationBlock):
    """A block whose six vectors are those of every other block: `adaln-single` without its table.

    Chen et al. 2025 (DiT-Air), section 3.3. The regression starts at zero, as under adaLN-Zero; the
    paper does not say how.
    """

    summary = "adaLN-Zero's vectors regressed once, the same in all blocks"
    formula = (
        "(β, γ, α)₁,₂ = W SiLU(t + c), one W for all blocks, 0 at start;  x + α F((1 + γ) LN x + β)"
    )
    source = "Chen et al. 2025 (DiT-Air), arXiv 2503.10618, §3.3; FLUX.2"
    initial = (("*adaLN_modulation.*", zero),)

    def vectors(self, vector: Tensor, shared: Tensor) -> Tensor:  # noqa: ARG002
        return shared  # (N, 6, D)
