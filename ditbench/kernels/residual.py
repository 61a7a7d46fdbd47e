"""Residual connections and the norms after them: x + gate * h, norm, shift and scale in one pass.

Every tensor is read and written once. The backward pass sums the gradients of shift, scale and gate
over a sample's tokens on the way.

`add` returns a `PendingSum`, which the next `norm` computes together with the norm. Everywhere else
it behaves like the tensor.

Legend of shapes: N batch, T tokens, D hidden size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.utils._pytree import tree_map

from ditbench.models.ops import NORM_EPS, NormKind

# numbers: elements that a program processes at a time. programs: as many keep a large GPU busy; a
# sample's tokens are split among programs until there are so many. Tuned on an H200.
FORWARD = {"numbers": 2048, "warps": 2}
BACKWARD = {"numbers": 2048, "warps": 4, "programs": 256, "stages": 3}


@triton.jit
def _normalise(x, mask, D: tl.constexpr, eps, CENTRE: tl.constexpr):
    """Rows of x (R, D2), 0 outside the mask, scaled to mean square 1; and the factors (R, 1)."""
    centred = x
    if CENTRE:
        centred = tl.where(mask, x - tl.sum(x, 1)[:, None] / D, 0.0)
    rstd = tl.rsqrt(tl.sum(centred * centred, 1)[:, None] / D + eps)
    return centred * rstd, rstd


@triton.jit
def _forward_kernel(
    x, h, gate, shift, scale, total, out, T, stride, eps,
    D: tl.constexpr, D2: tl.constexpr, R: tl.constexpr,
    ADD: tl.constexpr, GATE: tl.constexpr, NORM: tl.constexpr, SHIFT: tl.constexpr,
    SCALE: tl.constexpr, CENTRE: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0).to(tl.int64)
    rows = tl.program_id(1) * R + tl.arange(0, R)
    columns = tl.arange(0, D2)
    is_column = columns < D
    mask = (rows < T)[:, None] & is_column[None, :]
    at = (n * T + rows)[:, None] * D + columns[None, :]
    value = tl.load(x + at, mask, 0.0).to(tl.float32)
    if ADD:
        added = tl.load(h + at, mask, 0.0).to(tl.float32)
        if GATE:
            added *= tl.load(gate + n * stride + columns, is_column, 0.0).to(tl.float32)[None, :]
        value += added
        value = value.to(total.dtype.element_ty)  # the backward pass normalises what is stored
        tl.store(total + at, value, mask)
        value = value.to(tl.float32)
    if NORM:
        value, _ = _normalise(value, mask, D, eps, CENTRE)
        if SCALE:
            factor = 1 + tl.load(scale + n * stride + columns, is_column, 0.0).to(tl.float32)
            value *= factor[None, :]
        if SHIFT:
            offset = tl.load(shift + n * stride + columns, is_column, 0.0).to(tl.float32)
            value += offset[None, :]
        tl.store(out + at, value.to(out.dtype.element_ty), mask)


@triton.jit
def _backward_kernel(
    total, h, gate, scale, grad_total, grad_out, grad_x, grad_h, sums,
    T, stride, eps, PART,
    D: tl.constexpr, D2: tl.constexpr, R: tl.constexpr,
    ADD: tl.constexpr, GATE: tl.constexpr, NORM: tl.constexpr, SHIFT: tl.constexpr,
    SCALE: tl.constexpr, CENTRE: tl.constexpr, THROUGH: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0).to(tl.int64)
    part = tl.program_id(1)
    columns = tl.arange(0, D2)
    is_column = columns < D
    sum_shift = tl.zeros([R, D2], tl.float32)
    sum_scale = tl.zeros([R, D2], tl.float32)
    sum_gate = tl.zeros([R, D2], tl.float32)
    if SCALE:
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
            if SHIFT:
                sum_shift += g_value
            if SCALE:
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
            tl.store(grad_h + at, g.to(grad_h.dtype.element_ty), mask)
    N = tl.num_programs(0)
    to = sums + (part * 3 * N + n) * D + columns
    if SHIFT:
        tl.store(to, tl.sum(sum_shift, 0).to(sums.dtype.element_ty), is_column)
    if SCALE:
        tl.store(to + N * D, tl.sum(sum_scale, 0).to(sums.dtype.element_ty), is_column)
    if GATE:
        tl.store(to + 2 * N * D, tl.sum(sum_gate, 0).to(sums.dtype.element_ty), is_column)


class Residual(torch.autograd.Function):
    """`total = x + gate * h` and `out = norm(total) * (1 + scale) + shift`.

    Of x (N, T, D), h (N, T, D) in half precision or None, and vectors (N, 1, D) of equal strides or
    None. Without h, the total is x. `norm` is the kind of norm; None leaves it out. Returns
    (total, out), the total in x's type, `out` in the type `dtype`; what is not computed is None.
    """

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any,
        x: Tensor,
        h: Tensor | None,
        gate: Tensor | None,
        shift: Tensor | None,
        scale: Tensor | None,
        norm: NormKind | None,
        dtype: torch.dtype,
    ) -> tuple[Tensor | None, Tensor | None]:
        x = x.contiguous()
        h = None if h is None else h.contiguous()
        total = None if h is None else x.new_empty(x.shape)
        out = x.new_empty(x.shape, dtype=dtype) if norm is not None else None
        N, T, D = x.shape
        D2 = triton.next_power_of_2(D)
        R = max(1, FORWARD["numbers"] // D2)
        ctx.flags = {
            "ADD": h is not None, "GATE": gate is not None,
            "NORM": norm is not None, "SHIFT": shift is not None, "SCALE": scale is not None,
            "CENTRE": norm != "rms",
        }  # fmt: skip
        _forward_kernel[(N, triton.cdiv(T, R))](
            x, h, gate, shift, scale, total, out, T, _stride(gate, shift, scale),
            NORM_EPS, D, D2, R, **ctx.flags, num_warps=FORWARD["warps"],
        )  # fmt: skip
        ctx.save_for_backward(x if total is None else total, h, gate, shift, scale)
        ctx.set_materialize_grads(False)
        return total, out

    @staticmethod
    def backward(  # noqa: D102
        ctx: Any, grad_total: Tensor | None, grad_out: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        total, h, gate, shift, scale = ctx.saved_tensors
        add, norm = ctx.flags["ADD"], ctx.flags["NORM"]
        N, T, D = total.shape
        grad_x = torch.empty_like(total) if norm else grad_total
        grad_h = torch.empty_like(h) if add else None
        D2 = triton.next_power_of_2(D)
        R = max(1, BACKWARD["numbers"] // D2)
        # Each program takes a multiple of R tokens, or it would reach into the next one's.
        part = triton.cdiv(triton.cdiv(T, triton.cdiv(BACKWARD["programs"], N)), R) * R
        parts = triton.cdiv(T, part)
        vector = next((each for each in (gate, shift, scale) if each is not None), None)
        dtype = torch.float32 if parts > 1 or vector is None else vector.dtype
        # Each sum is contiguous, so that autograd joins those of one layer quickly.
        sums = total.new_empty(parts, 3, N, D, dtype=dtype)
        _backward_kernel[(N, parts)](
            total, h, gate, scale,
            None if grad_total is None else grad_total.contiguous(),
            None if grad_out is None else grad_out.contiguous(),
            grad_x, grad_h, sums, T, _stride(gate, scale), NORM_EPS, part,
            D, D2, R, **ctx.flags, THROUGH=grad_total is not None, STAGES=BACKWARD["stages"],
            num_warps=BACKWARD["warps"],
        )  # fmt: skip
        if vector is None:
            return grad_x, grad_h, None, None, None, None, None
        sums = sums.sum(0).to(vector.dtype) if parts > 1 else sums[0]
        grad_shift, grad_scale, grad_gate = (
            None if given is None else each.unsqueeze(1)
            for given, each in zip((shift, scale, gate), sums, strict=True)
        )
        return grad_x, grad_h, grad_gate, grad_shift, grad_scale, None, None


def _stride(*vectors: Tensor | None) -> int:
    """The distance between the vectors of two samples; equal in all vectors, see `_aligned`."""
    return next((vector.stride(0) for vector in vectors if vector is not None), 0)


def _aligned(x: Tensor, *vectors: Tensor | None) -> list[Tensor | None]:
    """The vectors as (N, 1, D) of equal strides, copied if necessary."""
    wanted = (len(x), 1, x.shape[-1])
    given = [vector for vector in vectors if vector is not None]
    strides = {each.stride(0) for each in given}
    if len(strides) <= 1 and all(e.shape == wanted and e.stride(-1) == 1 for e in given):
        return list(vectors)
    return [None if each is None else each.expand(wanted).contiguous() for each in vectors]


def norm(
    x: Tensor | PendingSum,
    shift: Tensor | None = None,
    scale: Tensor | None = None,
    kind: NormKind = "layer",
    *,
    dtype: torch.dtype,
) -> Tensor:
    """`ops.norm` of x (N, T, D) in `dtype`; a pending sum is computed with it."""
    if not isinstance(x, PendingSum) or x.total is not None:
        tokens: Tensor = as_tensor(x)
        shift, scale = _aligned(tokens, shift, scale)
        return Residual.apply(tokens, None, None, shift, scale, kind, dtype)[1]
    gate, shift, scale = _aligned(x.x, x.gate, shift, scale)
    x.total, out = Residual.apply(x.x, x.h, gate, shift, scale, kind, dtype)
    return out


def add(
    x: Tensor | PendingSum, h: Tensor, gate: Tensor | None = None, *, dtype: torch.dtype
) -> PendingSum:
    """`ops.add` of x and h (N, T, D), for the next `norm` to compute."""
    return PendingSum(as_tensor(x), h.to(dtype), gate)


class PendingSum:
    """x + gate * h of x and h (N, T, D) and a gate (N, 1, D) or None, computed when needed."""

    def __init__(self, x: Tensor, h: Tensor, gate: Tensor | None) -> None:
        self.x, self.h, self.gate = x, h, gate
        self.total: Tensor | None = None  # the sum, once it is computed

    def tensor(self) -> Tensor:
        """The sum, (N, T, D)."""
        if self.total is None:
            (gate,) = _aligned(self.x, self.gate)
            arguments = self.x, self.h, gate, None, None, None, self.h.dtype
            self.total = Residual.apply(*arguments)[0]
        return self.total

    @property
    def shape(self) -> torch.Size:
        """(N, T, D), known without computing the sum."""
        return self.x.shape

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Pass the sum to torch's functions, such as `torch.cat`."""
        return func(*tree_map(as_tensor, args), **tree_map(as_tensor, kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        """The attributes and methods of the sum."""
        return getattr(self.tensor(), name)


def as_tensor(x: Any) -> Any:
    """The sum of a `PendingSum`; anything else as it is."""
    return x.tensor() if isinstance(x, PendingSum) else x


def _operator(name: str) -> Callable[..., Any]:
    return lambda self, *others: getattr(self.tensor(), name)(*map(as_tensor, others))


# Python looks operators up in the class, not by `__getattr__`.
for _name in (
    "add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "matmul", "neg", "getitem", "len",
):  # fmt: skip
    setattr(PendingSum, f"__{_name}__", _operator(f"__{_name}__"))
