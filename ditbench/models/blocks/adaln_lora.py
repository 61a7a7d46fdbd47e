"""adaLN-LoRA: one regression for all blocks, plus a low-rank one in each."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ditbench.models.blocks.base import Spec
from ditbench.models.blocks.shared_modulation import VECTORS, SharedModulationBlock
from ditbench.models.init import zero
from ditbench.models.layers import Linear
from ditbench.models.sizes import ModelSize


class AdaLNLoRABlock(SharedModulationBlock):
    """A block whose six vectors are a regression shared by all blocks plus its own low-rank one.

    Wang et al. 2024 (FiTv2), section on AdaLN-LoRA. `options.lora_rank` is r; its default is D / 4,
    the 288 of the released XL. The shared regression and the second factor of each block start at
    zero; the first factor does not, since with both at zero neither would ever learn.
    """

    summary = "adaLN-Zero's vectors regressed once, plus a low-rank term per block"
    formula = (
        "(β, γ, α)₁,₂ = (W + BᵢAᵢ) SiLU(t + c), W = B = 0 at start;  x + α F((1 + γ) LN x + β)"
    )
    source = "Wang et al. 2024 (FiTv2), arXiv 2410.13925, AdaLN-LoRA"
    initial = (("blocks.*.lora_up.*", zero), ("*adaLN_modulation.*", zero))

    def __init__(self, spec: Spec, index: int) -> None:
        super().__init__(spec, index)
        rank = spec.options["lora_rank"]
        self.lora_down = Linear(spec.hidden_size, rank, spec.ops)
        self.lora_up = Linear(rank, VECTORS * spec.hidden_size, spec.ops)

    @classmethod
    def options(cls, size: ModelSize) -> dict[str, int]:
        return {"lora_rank": max(1, size.hidden_size // 4)}

    def vectors(self, vector: Tensor, shared: Tensor) -> Tensor:
        low_rank = self.lora_up(self.lora_down(F.silu(vector)))  # (N, D) -> (N, r) -> (N, 6 D)
        return shared + low_rank.unflatten(-1, (VECTORS, -1))  # (N, 6, D)
