"""Residual connections and the norms behind them: x + gate * h, norm, shift, scale in one pass.

Every tensor is read and written once. The backward pass sums what belongs to a sample (gradients
of shift, scale and gate) over its tokens on the way, so that nothing is read again for it, and
likewise the gradient of h, for the bias of the layer that h comes from.

Legend of shapes: N batch, T tokens, D hidden size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ditbench.models.kernels.sums import note_sums

if TYPE_CHECKING:
    from ditbench.models.switches import NormKind

# Numbers at a time in a program, its warps, programs that keep a large GPU busy (a sample's tokens
# are shared out until there are so many) and loads ahead; measured on an H200.
FORWARD = {"numbers": 2048, "warps": 2}
BACKWARD = {"numbers": 2048, "warps": 4, "programs": 256, "stages": 3}


@triton.jit
def _normalise(x, mask, D: tl.constexpr, eps, CENTRE: tl.constexpr):
    """Rows of x (R, D2) to mean square 1, centred before or not, and their factors (R, 1).

    Where the mask ends x is 0.
    """
    centred = x
    if CENTRE:
        centred = tl.where(mask, x - tl.sum(x, 1)[:, None] / D, 0.0)
    rstd = tl.rsqrt(tl.sum(centred * centred, 1)[:, None] / D + eps)
    return centred * rstd, rstd


@triton.jit
def _forward_kernel(
    x, h, gate, shift, scale, total, out, T, x_stride, stride, eps,
    D: tl.constexpr, D2: tl.constexpr, R: tl.constexpr,
    ADD: tl.constexpr, GATE: tl.constexpr, NORM: tl.constexpr, MODULATE: tl.constexpr,
    CENTRE: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0).to(tl.int64)
    rows = tl.program_id(1) * R + tl.arange(0, R)
    columns = tl.arange(0, D2)
    is_column = columns < D
    mask = (rows < T)[:, None] & is_column[None, :]
    within = rows[:, None] * D + columns[None, :]
    at = n * T * D + within
    value = tl.load(x + n * x_stride + within, mask, 0.0).to(tl.float32)
    if ADD:
        added = tl.load(h + at, mask, 0.0).to(tl.float32)
        if GATE:
            added *= tl.load(gate + n * stride + columns, is_column, 0.0).to(tl.float32)[None, :]
        value += added
        tl.store(total + at, value.to(total.dtype.element_ty), mask)
    if NORM:
        value, _ = _normalise(value, mask, D, eps, CENTRE)
        if MODULATE:
            factor = 1 + tl.load(scale + n * stride + columns, is_column, 0.0).to(tl.float32)
            offset = tl.load(shift + n * stride + columns, is_column, 0.0).to(tl.float32)
            value = value * factor[None, :] + offset[None, :]
        tl.store(out + at, value.to(out.dtype.element_ty), mask)


@triton.jit
def _backward_kernel(
    total, h, gate, scale, grad_total, grad_out, grad_x, grad_h, sums, sums_h,
    T, stride, eps, PART,
    D: tl.constexpr, D2: tl.constexpr, R: tl.constexpr,
    ADD: tl.constexpr, GATE: tl.constexpr, NORM: tl.constexpr, MODULATE: tl.constexpr,
    CENTRE: tl.constexpr, THROUGH: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0).to(tl.int64)
    part = tl.program_id(1)
    columns = tl.arange(0, D2)
    is_column = columns < D
    sum_shift = tl.zeros([R, D2], tl.float32)
    sum_scale = tl.zeros([R, D2], tl.float32)
    sum_gate = tl.zeros([R, D2], tl.float32)
    sum_h = tl.zeros([R, D2], tl.float32)
    if MODULATE:
        factor = 1 + tl.load(scale + n * stride + columns, is_column, 0.0).to(tl.float32)
    if GATE:
        weight = tl.load(gate + n * stride + columns, is_column, 0.0).to(tl.float32)
    for start in tl.range(0, PART, R, num_stages=STAGES):
        rows = part * PART + start + tl.arange(0, R)
        mask = (rows < T)[:, None] & is_column[None, :]
        at = (n * T + rows)[:, None] * D + columns[None, :]
        g = tl.zeros([R, D2], tl.float32)
        if THROUGH:
            g += tl.load(grad_total + at, mask, 0.0).to(tl.float32)
        if NORM:
            value = tl.load(total + at, mask, 0.0).to(tl.float32)
            value, rstd = _normalise(value, mask, D, eps, CENTRE)
            g_value = tl.load(grad_out + at, mask, 0.0).to(tl.float32)
            if MODULATE:
                sum_shift += g_value
                sum_scale += g_value * value
                g_value *= factor[None, :]
            mean = tl.sum(g_value, 1)[:, None] / D if CENTRE else 0.0
            slope = tl.sum(g_value * value, 1)[:, None] / D
            g += rstd * (g_value - mean - value * slope)
            tl.store(grad_x + at, g.to(grad_x.dtype.element_ty), mask)
        if ADD:
            if GATE:
                sum_gate += g * tl.load(h + at, mask, 0.0).to(tl.float32)
                g *= weight[None, :]
            sum_h += g
            tl.store(grad_h + at, g.to(grad_h.dtype.element_ty), mask)
    N = tl.num_programs(0)
    if ADD:
        tl.store(sums_h + (part * N + n) * D + columns, tl.sum(sum_h, 0), is_column)
    to = sums + (part * 3 * N + n) * D + columns
    if MODULATE:
        tl.store(to, tl.sum(sum_shift, 0).to(sums.dtype.element_ty), is_column)
        tl.store(to + N * D, tl.sum(sum_scale, 0).to(sums.dtype.element_ty), is_column)
    if GATE:
        tl.store(to + 2 * N * D, tl.sum(sum_gate, 0).to(sums.dtype.element_ty), is_column)


class Residual(torch.autograd.Function):
    """`total = x + gate * h` and `out = norm(total) * (1 + scale) + shift`.

    Of x (N, T, D), which may be one sample expanded to many, h (N, T, D) in half precision or None,
    and vectors (N, 1, D) of equal strides or None. Without h, the total is x; `norm` is the kind of
    norm, None leaves it out. Returns (total, out), the total in x's type, `out` in the type
    `dtype`; what is not computed is None.
    """

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any,
        x: Tensor,
        h: Tensor | None,
        gate: Tensor | None,
        shift: Tensor | None,
        scale: Tensor | None,
        eps: float,
        norm: NormKind | None,
        dtype: torch.dtype,
    ) -> tuple[Tensor | None, Tensor | None]:
        if h is None or x.stride(0) or not x[0].is_contiguous():
            x = x.contiguous()
        h = None if h is None else h.contiguous()
        total = None if h is None else x.new_empty(x.shape)
        out = x.new_empty(x.shape, dtype=dtype) if norm is not None else None
        N, T, D = x.shape
        D2 = triton.next_power_of_2(D)
        R = max(1, FORWARD["numbers"] // D2)
        ctx.flags = {
            "ADD": h is not None, "GATE": gate is not None,
            "NORM": norm is not None, "MODULATE": scale is not None, "CENTRE": norm != "rms",
        }  # fmt: skip
        ctx.eps = eps
        _forward_kernel[(N, triton.cdiv(T, R))](
            x, h, gate, shift, scale, total, out, T, x.stride(0), _stride(gate, shift, scale),
            eps, D, D2, R, **ctx.flags, num_warps=FORWARD["warps"],
        )  # fmt: skip
        ctx.save_for_backward(x if total is None else total, h, gate, scale)
        ctx.set_materialize_grads(False)
        return total, out

    @staticmethod
    def backward(  # noqa: D102
        ctx: Any, grad_total: Tensor | None, grad_out: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        total, h, gate, scale = ctx.saved_tensors
        add, norm = ctx.flags["ADD"], ctx.flags["NORM"]
        N, T, D = total.shape
        grad_x = torch.empty_like(total) if norm else grad_total
        grad_h = torch.empty_like(h) if add else None
        D2 = triton.next_power_of_2(D)
        R = max(1, BACKWARD["numbers"] // D2)
        # Whole steps of R tokens a program, or it would go on into the tokens of the next.
        part = triton.cdiv(triton.cdiv(T, triton.cdiv(BACKWARD["programs"], N)), R) * R
        parts = triton.cdiv(T, part)
        vectors = scale if gate is None else gate
        dtype = torch.float32 if parts > 1 or vectors is None else vectors.dtype
        # Each sum lies in one piece, and so is soon put together with those of other layers.
        sums = total.new_empty(parts, 3, N, D, dtype=dtype)
        sums_h = total.new_empty(parts * N, D, dtype=torch.float32) if add else None
        _backward_kernel[(N, parts)](
            total, h, gate, scale,
            None if grad_total is None else grad_total.contiguous(),
            None if grad_out is None else grad_out.contiguous(),
            grad_x, grad_h, sums, sums_h, T, _stride(gate, scale), ctx.eps, part,
            D, D2, R, **ctx.flags, THROUGH=grad_total is not None, STAGES=BACKWARD["stages"],
            num_warps=BACKWARD["warps"],
        )  # fmt: skip
        if grad_h is not None and sums_h is not None:
            note_sums(grad_h, sums_h)
        if vectors is None:
            return grad_x, grad_h, None, None, None, None, None, None
        sums = sums.sum(0).to(vectors.dtype) if parts > 1 else sums[0]
        shift, scale_, gate_ = (each.unsqueeze(1) for each in sums)
        return (
            grad_x,
            grad_h,
            None if gate is None else gate_,
            None if scale is None else shift,
            None if scale is None else scale_,
            None,
            None,
            None,
        )


def _stride(*vectors: Tensor | None) -> int:
    """From one sample's vector to the next one's: the same in all that are given."""
    strides = {vector.stride(0) for vector in vectors if vector is not None}
    assert len(strides) <= 1
    return strides.pop() if strides else 0
