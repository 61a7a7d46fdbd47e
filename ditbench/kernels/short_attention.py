"""Attention to few keys: one program per head, which reads and writes everything once.

A flash kernel cuts the keys into tiles and keeps running sums between them. Where a head's keys fit
into one tile, there are no running sums: the backward pass recomputes the weights from q and k and
writes all three gradients. Both passes are then limited by memory bandwidth alone.

Legend of shapes: N batch, T queries, S keys, D hidden size, h heads, d = D / h.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

# The largest tile that fits into a program's registers and shared memory.
MAX_KEYS = 128
MAX_QUERIES = 128  # at a time
MAX_HEAD_SIZE = 128
LOG2_E = tl.constexpr(1.4426950408889634)


def fits(keys: int, head_size: int) -> bool:
    """Whether a head's keys fit into one tile."""
    return keys <= MAX_KEYS and head_size <= MAX_HEAD_SIZE


def _side(size: int) -> int:
    """The side of a tile: a power of two that a tensor core supports."""
    return max(16, triton.next_power_of_2(size))


@triton.jit
def _tile(start, size: tl.constexpr, d: tl.constexpr, stride, rows: tl.constexpr, d2: tl.constexpr):
    """Offsets and mask of a tile (rows, d2), from row `start` on, of a matrix (size, d)."""
    row, column = start + tl.arange(0, rows)[:, None], tl.arange(0, d2)[None, :]
    return row * stride + column, (row < size) & (column < d)


@triton.jit
def _softmax(q, k, scale, S: tl.constexpr, S2: tl.constexpr):
    """Softmax over the keys of q k^T in float32, (queries, S2)."""
    scores = tl.dot(q, tl.trans(k)) * (scale * LOG2_E)
    scores = tl.where(tl.arange(0, S2)[None, :] < S, scores, float("-inf"))
    exps = tl.exp2(scores - tl.max(scores, 1)[:, None])
    return exps / tl.sum(exps, 1)[:, None]


@triton.jit
def _forward_kernel(
    q, kv, out, q_row, kv_row, scale, h,
    T: tl.constexpr, S: tl.constexpr, d: tl.constexpr,
    T2: tl.constexpr, S2: tl.constexpr, d2: tl.constexpr,
):  # fmt: skip
    n, head = (tl.program_id(0) // h).to(tl.int64), tl.program_id(0) % h
    D = h * d
    q += n * T * q_row + head * d
    kv += n * S * kv_row + head * d
    out += n * T * D + head * d
    kv_at, kv_mask = _tile(0, S, d, kv_row, S2, d2)
    keys = tl.load(kv + kv_at, kv_mask, 0.0)
    values = tl.load(kv + D + kv_at, kv_mask, 0.0)
    for start in range(0, T, T2):
        q_at, mask = _tile(start, T, d, q_row, T2, d2)
        weights = _softmax(tl.load(q + q_at, mask, 0.0), keys, scale, S, S2)
        result = tl.dot(weights.to(values.dtype), values)
        out_at, _ = _tile(start, T, d, D, T2, d2)
        tl.store(out + out_at, result.to(values.dtype), mask)


@triton.jit
def _backward_kernel(
    q, kv, grad, grad_q, grad_kv, q_row, kv_row, scale, h,
    T: tl.constexpr, S: tl.constexpr, d: tl.constexpr,
    T2: tl.constexpr, S2: tl.constexpr, d2: tl.constexpr,
):  # fmt: skip
    n, head = (tl.program_id(0) // h).to(tl.int64), tl.program_id(0) % h
    D = h * d
    q_from = n * T * q_row + head * d
    kv_from = n * S * kv_row + head * d
    kv_at, kv_mask = _tile(0, S, d, kv_row, S2, d2)
    kv_at += kv_from
    keys = tl.load(kv + kv_at, kv_mask, 0.0)
    values = tl.load(kv + D + kv_at, kv_mask, 0.0)
    g_keys = tl.zeros([S2, d2], tl.float32)
    g_values = tl.zeros([S2, d2], tl.float32)
    for start in range(0, T, T2):
        q_at, mask = _tile(start, T, d, q_row, T2, d2)
        out_at, _ = _tile(start, T, d, D, T2, d2)
        queries = tl.load(q + q_from + q_at, mask, 0.0)
        g = tl.load(grad + n * T * D + head * d + out_at, mask, 0.0)
        weights = _softmax(queries, keys, scale, S, S2)
        g_values += tl.dot(tl.trans(weights.to(g.dtype)), g)
        g_weights = tl.dot(g, tl.trans(values))
        mean = tl.sum(weights * g_weights, 1)[:, None]
        g_scores = (weights * (g_weights - mean) * scale).to(g.dtype)
        g_queries = tl.dot(g_scores, keys)
        tl.store(grad_q + q_from + q_at, g_queries.to(g.dtype), mask)
        g_keys += tl.dot(tl.trans(g_scores), queries)
    tl.store(grad_kv + kv_at, g_keys.to(keys.dtype), kv_mask)
    tl.store(grad_kv + D + kv_at, g_values.to(keys.dtype), kv_mask)


def _launch(kernel: Any, q: Tensor, kv: Tensor, num_heads: int, *others: Tensor) -> None:
    """Run a kernel, one program per head; rows of q (N, T, D) and kv (N, S, 2 D) may be strided."""
    (N, T, D), S = q.shape, kv.shape[1]
    d = D // num_heads
    T2, S2 = min(_side(T), MAX_QUERIES), _side(S)
    kernel[(N * num_heads,)](
        q, kv, *others, q.stride(1), kv.stride(1), d**-0.5, num_heads,
        T, S, d, T2, S2, _side(d), num_warps=4 if T2 * S2 <= 64 * 64 else 8,
    )  # fmt: skip


def operator(schema: str, fake: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Register the function as `ditbench::<name>`; `fake` returns results of its shapes."""

    def register(function: Callable[..., Any]) -> Any:
        name = f"ditbench::{function.__name__}"
        op = torch.library.custom_op(name, function, mutates_args=(), schema=schema)
        op.register_fake(fake)
        return op

    return register


@operator(
    "(Tensor qkv, int num_heads) -> Tensor",
    fake=lambda qkv, num_heads: qkv.new_empty(*qkv.shape[:2], qkv.shape[2] // 3),
)
def short_self_attention(qkv: Tensor, num_heads: int) -> Tensor:
    """Self-attention: q, k and v side by side (N, T, 3 D) -> (N, T, D)."""
    N, T, width = qkv.shape
    D = width // 3
    qkv = qkv.contiguous()
    out = qkv.new_empty(N, T, D)
    _launch(_forward_kernel, qkv[..., :D], qkv[..., D:], num_heads, out)
    return out


@operator(
    "(Tensor qkv, Tensor grad, int num_heads) -> Tensor",
    fake=lambda qkv, grad, num_heads: torch.empty_like(qkv),
)
def short_self_attention_backward(qkv: Tensor, grad: Tensor, num_heads: int) -> Tensor:
    """The gradient of qkv (N, T, 3 D), from that of the result (N, T, D)."""
    D = grad.shape[-1]
    qkv = qkv.contiguous()
    out = torch.empty_like(qkv)
    _launch(
        _backward_kernel, qkv[..., :D], qkv[..., D:], num_heads,
        grad.contiguous(), out[..., :D], out[..., D:],
    )  # fmt: skip
    return out


@operator(
    "(Tensor q, Tensor kv, int num_heads) -> Tensor",
    fake=lambda q, kv, num_heads: torch.empty_like(q),
)
def short_cross_attention(q: Tensor, kv: Tensor, num_heads: int) -> Tensor:
    """Attention of q (N, T, D) to k and v side by side (N, S, 2 D) -> (N, T, D)."""
    q, kv = q.contiguous(), kv.contiguous()
    out = torch.empty_like(q)
    _launch(_forward_kernel, q, kv, num_heads, out)
    return out


@operator(
    "(Tensor q, Tensor kv, Tensor grad, int num_heads) -> (Tensor, Tensor)",
    fake=lambda q, kv, grad, num_heads: (torch.empty_like(q), torch.empty_like(kv)),
)
def short_cross_attention_backward(
    q: Tensor, kv: Tensor, grad: Tensor, num_heads: int
) -> tuple[Tensor, Tensor]:
    """The gradients of q (N, T, D) and kv (N, S, 2 D), from that of the result (N, T, D)."""
    q, kv = q.contiguous(), kv.contiguous()
    grads = torch.empty_like(q), torch.empty_like(kv)
    _launch(_backward_kernel, q, kv, num_heads, grad.contiguous(), *grads)
    return grads


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    *tensors, ctx.num_heads = inputs
    ctx.save_for_backward(*tensors)


def _self_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return short_self_attention_backward(*ctx.saved_tensors, grad, ctx.num_heads), None


def _cross_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return *short_cross_attention_backward(*ctx.saved_tensors, grad, ctx.num_heads), None


short_self_attention.register_autograd(_self_backward, setup_context=_save)
short_cross_attention.register_autograd(_cross_backward, setup_context=_save)
