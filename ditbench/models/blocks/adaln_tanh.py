"""Scale and tanh gate from a low-rank regression, with a norm on both sides of each branch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from ditbench.models.blocks.base import Block, Conditioning, Spec
from ditbench.models.extras import HeadNorm
from ditbench.models.init import zero
from ditbench.models.layers import Linear

if TYPE_CHECKING:
    from ditbench.models.sizes import ModelSize


class LowRank(nn.Module):
    """The conditioning in r numbers, computed once for all blocks."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.down = Linear(spec.hidden_size, spec.options["modulation_rank"], spec.ops)

    def forward(self, c: Conditioning) -> Tensor:
        """Regress r numbers from the conditioning: (N, r)."""
        return self.down(F.silu(c.vector))


class AdaLNTanhBlock(Block):
    """A block with scale and gate but no shift; gates are bounded and branches normalised.

    The block of Lumina-Image 2.0 (Qin et al. 2025) and of Z-Image (2025), built from diffusers'
    models: a norm before and another after each branch ("sandwich", Zhuo et al. 2024), the second
    an RMS norm with learned gain, and the tanh of the gate. Their conditioning has fewer numbers
    than a token (1,024 of 2,304; 256 of 3,840); each block regresses four vectors from it. Choices
    made here: these r = `options.modulation_rank` numbers are a linear layer of SiLU(t + c), D / 4
    by default; the blocks' regressions start at zero, so that a block starts as the identity; the
    norm before a branch is the model's, without gain, as elsewhere; the final layer is that of
    adaLN-Zero, while theirs has no shift.
    """

    summary = "scale and tanh gate of low rank, a second norm after each branch"
    formula = "(γ, α)₁,₂ = Bᵢ A SiLU(t + c), B = 0 at start;  x + tanh(α) RMS(F((1 + γ) LN x))"
    source = "Qin et al. 2025 (Lumina-Image 2.0), arXiv 2503.21758; Z-Image, arXiv 2511.22699"
    starts_as = "identity"
    adaptive_final_layer = True
    initial = (("*adaLN_modulation.*", zero),)
    fused = True

    def __init__(self, spec: Spec, index: int) -> None:
        super().__init__(spec, index)
        D = spec.hidden_size
        self.adaLN_modulation = Linear(spec.options["modulation_rank"], 4 * D, spec.ops)
        self.attn_norm, self.mlp_norm = HeadNorm(D), HeadNorm(D)

    @classmethod
    def options(cls, size: ModelSize) -> Mapping[str, int]:
        """The rank r of the regression."""
        return {"modulation_rank": max(1, size.hidden_size // 4)}

    @classmethod
    def shared(cls, spec: Spec) -> nn.Module:
        """The first factor of the regression."""
        return LowRank(spec)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Transform the tokens x (N, T, D), given the conditioning in r numbers c (N, r)."""
        vectors = self.adaLN_modulation(c).unsqueeze(1).chunk(4, dim=-1)
        scale1, gate1, scale2, gate2 = vectors
        x = self.branch(x, lambda y: self.attn_norm(self.attn(y)), scale=scale1, gate=gate1.tanh())
        return self.branch(x, lambda y: self.mlp_norm(self.mlp(y)), scale=scale2, gate=gate2.tanh())
