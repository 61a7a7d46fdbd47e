"""The highest speed that a model can reach on a device: that of one large matrix product."""

from __future__ import annotations

import torch

from ditbench.seeds import generator

# Rows and columns. They fill a GPU; on a CPU they keep its cores busy for a few milliseconds.
CUDA_SIDE = 8192
CPU_SIDE = 1024


class Matmul:
    """A square matrix product in the precision of a model's products.

    The numbers are normally distributed: at its power limit, a GPU multiplies zeros faster than
    numbers like those of a model.

    Args:
        device: where to compute.
        precision: `bf16` or `fp32`. With `fp32`, torch's setting of TF32 applies, as it does to the
            products of a model.

    Attributes:
        flops: the FLOPs of one step, two per multiply-accumulate.
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
        """Compute the product once, always into the same tensor."""
        torch.mm(self._left, self._right, out=self._out)
