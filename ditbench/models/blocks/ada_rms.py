"""Adaptive RMS norm: a scale of each norm and nothing else."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from ditbench.models.blocks.base import Block, Conditioning, Spec
from ditbench.models.init import zero
from ditbench.models.layers import Modulation


class AdaRMSBlock(Block):
    """A block whose RMS norms take their gain from the conditioning; no shift, no gate.

    Crowson et al. 2024 (HDiT) and its released code: the regression of the gain starts at zero, and
    so does the last layer of each branch, so that a block starts as the identity. The norms are RMS
    norms even where `model.norm` is `layer`, which the final layer follows.
    """

    summary = "a scale of each RMS norm, regressed from t + c; no shift, no gate"
    formula = "γ₁,₂ = W SiLU(t + c);  x + F((1 + γ) RMS x), W and last layers of F = 0 at start"
    source = "Crowson et al. 2024 (HDiT), arXiv 2401.11605"
    starts_as = "identity"
    initial = (
        ("blocks.*.adaLN_modulation.*", zero),
        ("blocks.*.attn.proj.*", zero),
        ("blocks.*.mlp.fc2.*", zero),
    )
    fused = True

    def __init__(self, spec: Spec, index: int) -> None:
        super().__init__(replace(spec, norm="rms"), index)
        self.adaLN_modulation = Modulation(spec, 2)

    def forward(self, x: Tensor, c: Conditioning) -> Tensor:
        scale1, scale2 = self.adaLN_modulation(c.vector)  # (N, 1, D)
        x = self.branch(x, self.attn, scale=scale1)  # (N, T, D)
        return self.branch(x, self.mlp, scale=scale2)
