"""adaLN-Zero: adaptive layer norm with a gate before each residual, started at zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from ditbench.models.blocks.gated import VECTORS, GatedBlock
from ditbench.models.init import zero
from ditbench.models.layers import modulation, regress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ditbench.models.blocks.base import Conditioning, Spec
    from ditbench.models.init import Rules


class AdaLNZeroBlock(GatedBlock):
    """`AdaLNBlock` with gates; the zero-initialised regression makes it the identity at start.

    Peebles & Xie 2022, section 3.2. Parameter names are those of the published checkpoints.
    """

    summary = "adaLN with a gate before each residual; starts as the identity"
    formula = "(β, γ, α)₁,₂ = W SiLU(t + c), W = 0 at start;  x + α F((1 + γ) LN x + β)"
    source = "Peebles & Xie 2022, arXiv 2212.09748, §3.2"
    starts_as = "identity"
    adaptive_final_layer = True
    initial: ClassVar[Rules] = (("*adaLN_modulation.*", zero),)

    def __init__(self, spec: Spec, index: int) -> None:
        super().__init__(spec, index)
        self.adaLN_modulation = modulation(spec.hidden_size, VECTORS)

    @classmethod
    def prepare(
        cls, blocks: Sequence[AdaLNZeroBlock], c: Conditioning
    ) -> Sequence[tuple[Tensor, ...]]:
        """Shifts, scales and gates of every block: 6 vectors (N, 1, D) each."""
        return regress([block.adaLN_modulation for block in blocks], c.vector)
