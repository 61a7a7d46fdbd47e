"""Scale and tanh gate from a low-rank regression, with a norm on both sides of each branch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ditbench.models.blocks.base import Block, Conditioning, Spec
from ditbench.models.extras import HeadNorm
from ditbench.models.init import zero
from ditbench.models.layers import Linear
from ditbench.models.sizes import ModelSize


class LowRank(nn.Module):
    """The conditioning in r numbers, computed once for all blocks."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.down = Linear(spec.hidden_size, spec.options["modulation_rank"], spec.ops)

    def forward(self, c: Conditioning) -> Tensor:
        return self.down(F.silu(c.vector))  # (N, D) -> (N, r)


class AdaLNTanhBlock(Block):
    """A block with scale and gate but no shift; gates are bounded and branches normalised.

    The block of Lumina-Image 2.0 (Qin et al. 2025) and of Z-Image (2025), built from diffusers'
    models: a norm before and another after each branch, the second an RMS norm with learned gain,
    and the tanh of the gate. Each block regresses four vectors from r = `options.modulation_rank`
    numbers, D / 4 by default, which are the same for all blocks.
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
    def options(cls, size: ModelSize) -> dict[str, int]:
        return {"modulation_rank": max(1, size.hidden_size // 4)}

    @classmethod
    def shared(cls, spec: Spec) -> nn.Module:
        return LowRank(spec)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        vectors = self.adaLN_modulation(c).unsqueeze(1)  # (N, r) -> (N, 1, 4 D)
        scale1, gate1, scale2, gate2 = vectors.chunk(4, dim=-1)
        x = self.branch(x, lambda y: self.attn_norm(self.attn(y)), scale=scale1, gate=gate1.tanh())
        return self.branch(x, lambda y: self.mlp_norm(self.mlp(y)), scale=scale2, gate=gate2.tanh())
