"""The highest speed that a model can reach on a device: that of one large matrix product."""

from __future__ import annotations

from functools import partial

import torch

from ditbench.seeds import generator

# Rows and columns. They fill a GPU; on a CPU they keep its cores busy for a few milliseconds.
CUDA_SIDE = 8192
CPU_SIDE = 1024


def matmul(device: torch.device, precision: str) -> tuple[partial[torch.Tensor], float]:
    """A function that computes one square matrix product, and its FLOPs.

    The precision is `bf16` or `fp32`, in which torch's setting of TF32 applies as it does to a
    model. The numbers are normally distributed: at its power limit, a GPU multiplies zeros faster.
    """
    side = CUDA_SIDE if device.type == "cuda" else CPU_SIDE
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    draws = generator(0, "bench", "matmul", device=device)
    left, right = (
        torch.randn(side, side, generator=draws, device=device).to(dtype) for _ in range(2)
    )
    return partial(torch.mm, left, right, out=torch.empty_like(left)), 2.0 * side**3
