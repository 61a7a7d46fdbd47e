"""Linear layers in FP8, whose products take little more than half the time of those in bf16.

Numbers of the forward pass are E4M3, gradients are E5M2 (Micikevicius et al. 2022, arXiv
2209.05433, section 3). Each matrix has one scale, by which its largest number becomes the format's
largest. Sums are float32, results are in half precision, weights and their gradients are float32.

A GPU multiplies matrices in FP8 only where both lie in memory along the dimension that is summed
over. Each matrix of a step is in two products, so it is converted into both orders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ditbench.kernels.linear import bias_gradient, parameter_gradients
from ditbench.models.ops import Ops

FORWARD, GRADIENT = torch.float8_e4m3fn, torch.float8_e5m2
HALF = torch.bfloat16
# A narrower layer gains nothing: it is limited by the bytes of its input or output.
NARROWEST = 256


class Scaled(NamedTuple):
    """A matrix (R, C) in FP8, in both orders; its numbers are to be multiplied by the scale."""

    rows: Tensor  # (R, C)
    columns: Tensor  # (C, R)
    scale: Tensor  # () in float32


Converter = Callable[[Tensor, torch.dtype], Scaled]


def convert(x: Tensor, dtype: torch.dtype) -> Scaled:
    """A matrix in FP8, by plain operations: the definition of a `Converter`."""
    scale = scale_of(x, dtype)
    rows = (x.float() * scale.reciprocal()).to(dtype)
    return Scaled(rows, rows.T.contiguous(), scale)


def scale_of(x: Tensor, dtype: torch.dtype) -> Tensor:
    """The largest magnitude of a matrix over that of an FP8 type, in float32; never 0."""
    largest = torch.linalg.vector_norm(x, torch.inf, dtype=torch.float32)
    limits = torch.finfo(dtype)
    return (largest / limits.max).clamp(min=torch.finfo(torch.float32).tiny)


def fits(x: Tensor, weight: Tensor) -> bool:
    """Whether a layer of tokens x (N, T, K) with a weight (L, K) is computed in FP8.

    The others stay in half precision: those of one vector per image, and of patches, which are
    narrow. Products in FP8 need dimensions that 16 divides.
    """
    if x.dim() != 3 or not torch.is_grad_enabled():  # samples are computed in half precision
        return False
    sizes = x.shape[0] * x.shape[1], *weight.shape
    return min(weight.shape) >= NARROWEST and not any(size % 16 for size in sizes)


def fp8_ops(ops: Ops, convert: Converter = convert) -> Ops:
    """Operations whose linear layers of tokens are computed in FP8 where that `fits`."""
    return replace(
        ops,
        linear=partial(linear, ops=ops, convert=convert),
        linear_gelu=partial(linear_gelu, ops=ops, convert=convert),
    )


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, ops: Ops, convert: Converter
) -> Tensor:
    """`ops.linear` in FP8: x (N, T, K), weight (L, K), bias (L,) -> (N, T, L)."""
    if not fits(x, weight):
        return ops.linear(x, weight, bias)
    return _Linear.apply(x.to(HALF), weight, bias, convert)


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor, *, ops: Ops, convert: Converter) -> Tensor:
    """`ops.linear_gelu` in FP8; the GELU is computed in half precision."""
    if not fits(x, weight):
        return ops.linear_gelu(x, weight, bias)
    return F.gelu(linear(x, weight, bias, ops=ops, convert=convert), approximate="tanh")


def product(
    left: tuple[Tensor, Tensor],
    right: tuple[Tensor, Tensor],
    bias: Tensor | None = None,
    *,
    dtype: torch.dtype,
    fast: bool = False,
) -> Tensor:
    """The product of left (R, S) and right (C, S) over S, each with its scale: (R, C) in `dtype`.

    A GPU adds up in fewer bits than float32 has if it is to be `fast`.
    """
    (rows, scale), (columns, other) = left, right
    if rows.is_cuda:
        return torch._scaled_mm(
            rows, columns.T, scale, other, bias=bias, out_dtype=dtype, use_fast_accum=fast
        )
    out = rows.float() @ columns.float().T * (scale * other)
    return (out if bias is None else out + bias).to(dtype)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, convert: Converter
    ) -> Tensor:
        inputs = convert(x.flatten(0, -2), FORWARD)
        weights = convert(weight, FORWARD)
        ctx.save_for_backward(inputs.columns, inputs.scale, weights.columns, weights.scale)
        ctx.parameters = [each for each in (weight, bias) if each is not None]
        ctx.convert = convert
        half = None if bias is None else bias.to(HALF)
        sides = (inputs.rows, inputs.scale), (weights.rows, weights.scale)
        out = product(*sides, half, dtype=HALF, fast=True)
        return out.unflatten(0, x.shape[:-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, input_scale, weights, weight_scale = ctx.saved_tensors
        rows = grad.contiguous().flatten(0, -2)
        grads = ctx.convert(rows, GRADIENT)

        def compute() -> list[Tensor]:
            sides = (grads.columns, grads.scale), (inputs, input_scale)
            of_weight = product(*sides, dtype=torch.float32)
            return [of_weight, bias_gradient(rows)][: len(ctx.parameters)]

        reads = inputs, input_scale, *grads, rows
        gradients = parameter_gradients(ctx.parameters, compute, reads)
        of_x = product((grads.rows, grads.scale), (weights, weight_scale), dtype=HALF)
        of_x = of_x.unflatten(0, grad.shape[:-1])
        return of_x, *gradients, *[None] * (3 - len(gradients))
