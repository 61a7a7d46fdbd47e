"""adaLN-LoRA: one regression for all blocks, and a low-rank one of its own in each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ditbench.models.blocks.gated import VECTORS, SharedGatedBlock
from ditbench.models.init import zero
from ditbench.models.ops import Linear, linears

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ditbench.models.blocks.base import Spec
    from ditbench.models.sizes import ModelSize


class AdaLNLoRABlock(SharedGatedBlock):
    """A block whose six vectors are the model's, regressed once, plus a low-rank regression.

    Wang et al. 2024 (FiTv2), section on AdaLN-LoRA. `options.lora_rank` is r; its default is D / 4,
    the 288 of the released XL. The shared regression and the second factor of each block start
    at zero, so that every block starts as the identity; the first factor is Xavier-uniform, without
    which neither factor would ever learn. The final layer is adaLN-Zero's. Biases are as elsewhere:
    one in each linear layer.
    """

    summary = "adaLN-Zero's vectors regressed once, plus a low-rank term a block"
    formula = (
        "(β, γ, α)₁,₂ = (W + BᵢAᵢ) SiLU(t + c), W = B = 0 at start;  x + α F((1 + γ) LN x + β)"
    )
    source = "Wang et al. 2024 (FiTv2), arXiv 2410.13925, AdaLN-LoRA"
    starts_as = "identity"
    adaptive_final_layer = True
    initial = (("blocks.*.lora_up.*", zero), ("*adaLN_modulation.*", zero))

    def __init__(self, spec: Spec, index: int) -> None:
        super().__init__(spec, index)
        rank = spec.options["lora_rank"]
        self.lora_down = Linear(spec.hidden_size, rank)
        self.lora_up = Linear(rank, VECTORS * spec.hidden_size)

    @classmethod
    def options(cls, size: ModelSize) -> Mapping[str, int]:
        """The rank r of the blocks' own regressions."""
        return {"lora_rank": max(1, size.hidden_size // 4)}

    @classmethod
    def prepare(
        cls, blocks: Sequence[AdaLNLoRABlock], c: tuple[Tensor, Tensor]
    ) -> Sequence[tuple[Tensor, ...]]:
        """Shifts, scales and gates of every block: 6 vectors (N, 1, D) each."""
        vector, modulations = c
        side_by_side = linears(
            F.silu(vector),
            [block.lora_down.weight for block in blocks],
            [block.lora_down.bias for block in blocks],
        )
        down = side_by_side.unflatten(-1, (len(blocks), -1)).transpose(0, 1)  # (depth, N, r)
        weights = torch.stack([block.lora_up.weight for block in blocks])  # (depth, 6 D, r)
        biases = torch.stack([block.lora_up.bias for block in blocks])
        up = torch.bmm(down, weights.mT) + biases.unsqueeze(1)  # (depth, N, 6 D)
        of_all = up.unflatten(-1, (VECTORS, 1, -1)) + modulations  # (depth, N, 6, 1, D)
        return [vectors.unbind(1) for vectors in of_all.unbind(0)]
