"""Linear layers over float32 weights in half precision, and one with a GELU behind it.

Under autocast torch casts every weight in each forward pass and every gradient in each backward
pass. Here the weights' copies are made all at once (`halved`), and the matrix product itself writes
the weight's gradient in float32, as it has it.

Legend of shapes: M rows, K inputs, L outputs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from ditbench.models.aside import parameter_gradients
from ditbench.models.halved import half
from ditbench.models.kernels.sums import sum_partial, sum_rows
from ditbench.models.ops import ALL, joined

# Rows at a time, columns, rows a program and warps of the GELU's backward pass; on an H200.
GELU = {"ROWS": 4, "COLUMNS": 128, "PART": 64, "num_warps": 4}

# (1 + tanh(z)) / 2 = sigmoid(2 z), with z = sqrt(2 / pi) (x + 0.044715 x^3).
LINEAR = tl.constexpr(1.5957691216057308)
CUBIC = tl.constexpr(0.044715)


@triton.jit
def _share(x):
    """How much of x the tanh-approximated GELU lets through: it is x * sigmoid(a x (1 + b x^2))."""
    return tl.sigmoid(x * LINEAR * (1 + x * x * CUBIC))


@triton.jit
def _slope(x):
    """The derivative of x * `_share(x)`."""
    s = _share(x)
    return s + x * s * (1 - s) * LINEAR * (1 + x * x * (3 * CUBIC))


@triton.jit
def _gelu_kernel(x, out, size, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + at, at < size, 0.0).to(tl.float32)
    tl.store(out + at, (value * _share(value)).to(out.dtype.element_ty), at < size)


@triton.jit
def _gelu_backward_kernel(
    x, grad, out, sums, M, L,
    PART: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The gradient of a GELU's input, and its sums over `PART` rows for the bias before it."""
    part = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    for start in range(0, PART, ROWS):
        rows = part * PART + start + tl.arange(0, ROWS)
        mask = (rows < M)[:, None] & (columns < L)[None, :]
        at = rows[:, None] * L + columns[None, :]
        g = tl.load(grad + at, mask, 0.0).to(tl.float32)
        g *= _slope(tl.load(x + at, mask, 0.0).to(tl.float32))
        total += g
        tl.store(out + at, g.to(out.dtype.element_ty), mask)
    tl.store(sums + part * L + columns, tl.sum(total, 0), columns < L)


class Linear(torch.autograd.Function):
    """`ops.linears` of x in half precision and float32 weights.

    Called with x, the rows, all weights and as many biases.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: slice, *parameters: Tensor) -> Tensor:  # noqa: D102
        copies = [half(each, x.dtype)[rows] for each in parameters]
        middle = len(copies) // 2
        copy = joined(copies[:middle])
        ctx.save_for_backward(x, copy)
        ctx.parameters, ctx.rows = parameters, rows
        return F.linear(x, copy, joined(copies[middle:]))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        x, copy = ctx.saved_tensors
        grad = grad.contiguous()

        def gradients() -> list[Tensor]:
            biases = ctx.parameters[len(ctx.parameters) // 2 :]
            sizes = [len(bias[ctx.rows]) for bias in biases]
            return [*_weight_grad(x, grad).split(sizes), *sum_rows(grad).split(sizes)]

        of_parameters = parameter_gradients(ctx.parameters, ctx.rows, gradients, (x, grad))
        return (grad @ copy if ctx.needs_input_grad[0] else None), None, *of_parameters


class LinearGelu(torch.autograd.Function):
    """`Linear` and the tanh-approximated GELU of it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:  # noqa: D102
        copy = half(weight, x.dtype)
        before = F.linear(x, copy, half(bias, x.dtype))
        ctx.save_for_backward(x, copy, before)
        ctx.parameters = (weight, bias)
        out = torch.empty_like(before)
        _gelu_kernel[(triton.cdiv(before.numel(), 4096),)](
            before, out, before.numel(), 4096, num_warps=8
        )
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        x, copy, before = ctx.saved_tensors
        L = before.shape[-1]
        M = before.numel() // L
        parts = triton.cdiv(M, GELU["PART"])
        grad_before = torch.empty_like(before)
        sums = before.new_empty(parts, L, dtype=torch.float32)
        _gelu_backward_kernel[(parts, triton.cdiv(L, GELU["COLUMNS"]))](
            before, grad.contiguous(), grad_before, sums, M, L, **GELU
        )
        of_parameters = parameter_gradients(
            ctx.parameters,
            ALL,
            lambda: (_weight_grad(x, grad_before), sum_partial(sums)),
            (x, grad_before, sums),
        )
        return grad_before @ copy, *of_parameters


def linear_gelu_alone(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """What `LinearGelu` gives, where no backward pass wants to know what went into the GELU."""
    copy, offset = half(weight, x.dtype), half(bias, x.dtype)
    if (
        not x.is_cuda
    ):  # the interpreter, in tests; on a processor the product below has another GELU
        return F.gelu(F.linear(x, copy, offset), approximate="tanh")
    # The library's product does the GELU, tanh-approximated, before it writes anything.
    out = torch._addmm_activation(offset, x.flatten(0, -2), copy.T, use_gelu=True)
    return out.unflatten(0, x.shape[:-1])


def _weight_grad(x: Tensor, grad: Tensor) -> Tensor:
    """The gradient of a weight (L, K) in float32, of x (..., K) and the output's (..., L)."""
    rows, grads = x.flatten(0, -2), grad.flatten(0, -2)
    if not x.is_cuda:  # the interpreter, in tests
        return grads.T.float() @ rows.float()
    return torch.mm(grads.T, rows, out_dtype=torch.float32)
