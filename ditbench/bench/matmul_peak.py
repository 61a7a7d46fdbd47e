"""What the device can do at most, as far as a model can use it: one large matrix product."""

from __future__ import annotations

import torch

from ditbench.seeds import generator

# Rows and columns: enough to fill a GPU; on a CPU, enough to fill its cores for a few milliseconds.
CUDA_SIDE = 8192
CPU_SIDE = 1024


class Matmul:
    """A square matrix product in the precision in which a model's products are taken.

    The numbers are drawn from a normal distribution: a GPU at the limit of its power computes with
    zeros faster than with what a model computes with.

    Args:
        device: where.
        precision: `bf16` or `fp32`; for the latter torch's own setting says whether TF32 is
            allowed, for this product as for those of the model.

    Attributes:
        flops: of one step, two for each multiply-accumulate.
    """

    def __init__(self, device: torch.device, precision: str) -> None:
        side = CUDA_SIDE if device.type == "cuda" else CPU_SIDE
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        draws = generator(0, "bench", "matmul", device=device)
        self._left, self._right = (
            torch.randn(side, side, generator=draws, device=device).to(dtype) for _ in range(2)
        )
        self._out = torch.empty_like(self._left)
        self.flops = 2.0 * side**3

    def step(self) -> None:
        """Compute the product once, into the same place."""
        torch.mm(self._left, self._right, out=self._out)
