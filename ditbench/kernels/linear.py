"""Linear layers in half precision over float32 weights.

Under autocast, autograd casts every weight's gradient from half precision to float32. Here the
matrix product itself writes it in float32, on a second stream.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ditbench.kernels.side_stream import side_stream


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, dtype: torch.dtype) -> Tensor:
    """`F.linear` in `dtype`: x (..., K), weight (L, K), bias (L,) -> (..., L)."""
    return _Linear.apply(x.to(dtype), weight, bias)


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor, *, dtype: torch.dtype) -> Tensor:
    """`ops.linear_gelu` in `dtype`; without gradients, one call of cuBLAS computes it."""
    if torch.is_grad_enabled() or not x.is_cuda:
        return F.gelu(linear(x, weight, bias, dtype=dtype), approximate="tanh")
    rows, half = x.to(dtype).flatten(0, -2), weight.to(dtype).T
    out = torch._addmm_activation(bias.to(dtype), rows, half, use_gelu=True)  # tanh on CUDA
    return out.unflatten(0, x.shape[:-1])


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        half = weight.to(x.dtype)
        ctx.save_for_backward(x, half)
        ctx.parameters = [each for each in (weight, bias) if each is not None]
        return F.linear(x, half, None if bias is None else bias.to(x.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, half = ctx.saved_tensors
        grad = grad.contiguous()
        parameters = ctx.parameters

        def compute() -> list[Tensor]:
            return [_weight_gradient(x, grad), bias_gradient(grad)][: len(parameters)]

        gradients = parameter_gradients(parameters, compute, (x, grad))
        of_x = grad @ half if ctx.needs_input_grad[0] else None
        return of_x, *gradients, *[None] * (2 - len(gradients))


def parameter_gradients(
    parameters: Sequence[Tensor],
    compute: Callable[[], Sequence[Tensor]],
    reads: Sequence[Tensor],
) -> Sequence[Tensor]:
    """`SideStream.gradients` on a GPU; elsewhere, in tests, the gradients as they are computed."""
    if not reads[0].is_cuda:
        return compute()
    return side_stream(reads[0].device).gradients(parameters, compute, reads)


def bias_gradient(grad: Tensor) -> Tensor:
    """The sum over rows of grad (..., L) in float32: (L,)."""
    rows = grad.flatten(0, -2)
    if not grad.is_cuda:
        return rows.float().sum(0)
    # Faster than torch's sum over the first dimension.
    return torch.mm(_ones(len(rows), grad.dtype, grad.device), rows, out_dtype=torch.float32)[0]


@cache
def _ones(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.ones(1, count, dtype=dtype, device=device)


def _weight_gradient(x: Tensor, grad: Tensor) -> Tensor:
    """The gradient of a weight (L, K) in float32, from x (..., K) and the output's (..., L)."""
    rows, grads = x.flatten(0, -2), grad.flatten(0, -2)
    if not x.is_cuda:
        return grads.T.float() @ rows.float()
    return torch.mm(grads.T, rows, out_dtype=torch.float32)
