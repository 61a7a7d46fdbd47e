"""Self-attention over many tokens: a flash kernel on the layout of the linear layers.

It reads q, k and v from the one tensor (N, T, 3 D) that a linear layer wrote, and writes their
gradients into one tensor of that shape. Other kernels return three tensors, which then have to be
concatenated.

The algorithm is that of Dao 2023 (arXiv 2307.08691): running softmax in the forward pass, weights
recomputed from its log-sum-exp in the backward pass, one kernel for the gradients of k and v,
one for those of q. Legend of shapes: N batch, T tokens, D hidden size, h heads, d = D / h.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ditbench.kernels.operators import operator

HEAD_SIZES = (16, 32, 64)
LOG2_E = tl.constexpr(1.4426950408889634)
# Tokens per tile, warps and stages of each kernel; tuned on an H200.
FORWARD = {"Q": 64, "K": 64, "num_warps": 4, "num_stages": 3}
KEYS = {"Q": 32, "K": 64, "num_warps": 4, "num_stages": 3}
QUERIES = {"Q": 64, "K": 32, "num_warps": 4, "num_stages": 3}


def fits(head_size: int) -> bool:
    """Whether a head of this size fills its tiles."""
    return head_size in HEAD_SIZES


@triton.jit
def _forward_kernel(
    qkv, out, lse, scale, h, T,
    d: tl.constexpr, Q: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    n, head = (tl.program_id(1) // h).to(tl.int64), tl.program_id(1) % h
    D = h * d
    qkv += n * T * 3 * D + head * d
    columns = tl.arange(0, d)[None, :]
    rows = tl.program_id(0) * Q + tl.arange(0, Q)
    mask = (rows < T)[:, None]
    queries = tl.load(qkv + rows[:, None] * 3 * D + columns, mask, 0.0)
    highest = tl.full([Q], float("-inf"), tl.float32)
    total = tl.zeros([Q], tl.float32)
    result = tl.zeros([Q, d], tl.float32)
    for start in range(0, T, K):
        keys = start + tl.arange(0, K)
        at = qkv + D + keys[:, None] * 3 * D + columns
        k = tl.load(at, (keys < T)[:, None], 0.0)
        v = tl.load(at + D, (keys < T)[:, None], 0.0)
        scores = tl.dot(queries, tl.trans(k)) * (scale * LOG2_E)
        scores = tl.where((keys < T)[None, :], scores, float("-inf"))
        higher = tl.maximum(highest, tl.max(scores, 1))
        shrink = tl.exp2(highest - higher)
        exps = tl.exp2(scores - higher[:, None])
        total = total * shrink + tl.sum(exps, 1)
        result = result * shrink[:, None] + tl.dot(exps.to(v.dtype), v)
        highest = higher
    result = (result / total[:, None]).to(queries.dtype)
    tl.store(out + n * T * D + head * d + rows[:, None] * D + columns, result, mask)
    tl.store(lse + tl.program_id(1) * T + rows, highest + tl.log2(total), rows < T)


@triton.jit
def _keys_kernel(
    qkv, out, grad, lse, grad_qkv, scale, h, T,
    d: tl.constexpr, Q: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """The gradients of a tile of keys and values; weights are (keys, queries) here."""
    n, head = (tl.program_id(1) // h).to(tl.int64), tl.program_id(1) % h
    D = h * d
    qkv += n * T * 3 * D + head * d
    out += n * T * D + head * d
    grad += n * T * D + head * d
    lse += tl.program_id(1) * T
    columns = tl.arange(0, d)[None, :]
    keys = tl.program_id(0) * K + tl.arange(0, K)
    at = keys[:, None] * 3 * D + columns
    is_key = (keys < T)[:, None]
    k = tl.load(qkv + D + at, is_key, 0.0)
    v = tl.load(qkv + 2 * D + at, is_key, 0.0)
    g_keys = tl.zeros([K, d], tl.float32)
    g_values = tl.zeros([K, d], tl.float32)
    for start in range(0, T, Q):
        rows = start + tl.arange(0, Q)
        mask = (rows < T)[:, None]
        queries = tl.load(qkv + rows[:, None] * 3 * D + columns, mask, 0.0)
        g = tl.load(grad + rows[:, None] * D + columns, mask, 0.0)
        o = tl.load(out + rows[:, None] * D + columns, mask, 0.0)
        mean = tl.sum(g.to(tl.float32) * o.to(tl.float32), 1)
        # Rows beyond the end get weight 0.
        level = tl.load(lse + rows, rows < T, float("inf"))
        scores = tl.dot(k, tl.trans(queries)) * (scale * LOG2_E)
        weights = tl.exp2(scores - level[None, :])
        g_values += tl.dot(weights.to(g.dtype), g)
        g_weights = tl.dot(v, tl.trans(g))
        g_scores = (weights * (g_weights - mean[None, :]) * scale).to(g.dtype)
        g_keys += tl.dot(g_scores, queries)
    tl.store(grad_qkv + n * T * 3 * D + head * d + D + at, g_keys.to(k.dtype), is_key)
    tl.store(grad_qkv + n * T * 3 * D + head * d + 2 * D + at, g_values.to(k.dtype), is_key)


@triton.jit
def _queries_kernel(
    qkv, out, grad, lse, grad_qkv, scale, h, T,
    d: tl.constexpr, Q: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """The gradient of a tile of queries."""
    n, head = (tl.program_id(1) // h).to(tl.int64), tl.program_id(1) % h
    D = h * d
    qkv += n * T * 3 * D + head * d
    columns = tl.arange(0, d)[None, :]
    rows = tl.program_id(0) * Q + tl.arange(0, Q)
    mask = (rows < T)[:, None]
    at = rows[:, None] * 3 * D + columns
    out_at = n * T * D + head * d + rows[:, None] * D + columns
    queries = tl.load(qkv + at, mask, 0.0)
    g = tl.load(grad + out_at, mask, 0.0)
    mean = tl.sum(g.to(tl.float32) * tl.load(out + out_at, mask, 0.0).to(tl.float32), 1)
    level = tl.load(lse + tl.program_id(1) * T + rows, rows < T, float("inf"))
    g_queries = tl.zeros([Q, d], tl.float32)
    for start in range(0, T, K):
        keys = start + tl.arange(0, K)
        key_at = qkv + D + keys[:, None] * 3 * D + columns
        k = tl.load(key_at, (keys < T)[:, None], 0.0)
        v = tl.load(key_at + D, (keys < T)[:, None], 0.0)
        # Keys beyond the end are 0 and add nothing.
        scores = tl.dot(queries, tl.trans(k)) * (scale * LOG2_E)
        weights = tl.exp2(scores - level[:, None])
        g_weights = tl.dot(g, tl.trans(v))
        g_scores = (weights * (g_weights - mean[:, None]) * scale).to(k.dtype)
        g_queries += tl.dot(g_scores, k)
    tl.store(grad_qkv + n * T * 3 * D + head * d + at, g_queries.to(queries.dtype), mask)


def _empty_results(qkv: Tensor, num_heads: int) -> tuple[Tensor, Tensor]:
    """Uninitialised results (N, T, D), and log-sum-exps of scores (N, h, T) float32."""
    N, T, width = qkv.shape
    log_sums = qkv.new_empty(N, num_heads, T, dtype=torch.float32)
    return qkv.new_empty(N, T, width // 3), log_sums


@operator("(Tensor qkv, int num_heads) -> (Tensor, Tensor)", fake=_empty_results)
def long_self_attention(qkv: Tensor, num_heads: int) -> tuple[Tensor, Tensor]:
    """Self-attention: q, k and v side by side (N, T, 3 D) -> (N, T, D).

    Also returns the base-2 log-sum-exps of the scores, (N, h, T), for the backward pass.
    """
    qkv = qkv.contiguous()
    out, log_sums = _empty_results(qkv, num_heads)
    N, T, D = out.shape
    d = D // num_heads
    _forward_kernel[(triton.cdiv(T, FORWARD["Q"]), N * num_heads)](
        qkv, out, log_sums, d**-0.5, num_heads, T, d, **FORWARD
    )
    return out, log_sums


@operator(
    "(Tensor qkv, Tensor out, Tensor log_sums, Tensor grad, int num_heads) -> Tensor",
    fake=lambda qkv, out, log_sums, grad, num_heads: torch.empty_like(qkv),
)
def long_self_attention_backward(
    qkv: Tensor, out: Tensor, log_sums: Tensor, grad: Tensor, num_heads: int
) -> Tensor:
    """The gradient of qkv (N, T, 3 D), from that of the result (N, T, D)."""
    qkv = qkv.contiguous()
    N, T, D = out.shape
    d = D // num_heads
    grad_qkv = torch.empty_like(qkv)
    given = qkv, out, grad.contiguous(), log_sums, grad_qkv, d**-0.5, num_heads, T, d
    _keys_kernel[(triton.cdiv(T, KEYS["K"]), N * num_heads)](*given, **KEYS)
    _queries_kernel[(triton.cdiv(T, QUERIES["Q"]), N * num_heads)](*given, **QUERIES)
    return grad_qkv


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    qkv, ctx.num_heads = inputs
    ctx.save_for_backward(qkv, *output)


long_self_attention.register_autograd(
    lambda ctx, grad, _of_log_sums: (
        long_self_attention_backward(*ctx.saved_tensors, grad, ctx.num_heads),
        None,
    ),
    setup_context=_save,
)
