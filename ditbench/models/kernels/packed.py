"""Self-attention over one tensor (N, T, 3 D) of queries, keys and values, side by side."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ditbench.models.kernels import attention, long_attention


def self_attention(qkv: Tensor, num_heads: int) -> Tensor:
    """Attention of tokens among themselves by the kernel that suits their number and width.

    Args:
        qkv: (N, T, 3 D) in half precision.
        num_heads: h, a divisor of D.

    Returns:
        The heads side by side, (N, T, D).
    """
    T, head_size = qkv.shape[1], qkv.shape[2] // 3 // num_heads
    if attention.fits(T, head_size):
        return attention.SelfAttention.apply(qkv, num_heads)
    if long_attention.fits(head_size):
        return long_attention.LongSelfAttention.apply(qkv, num_heads)
    return LibraryAttention.apply(qkv, num_heads)


class LibraryAttention(torch.autograd.Function):
    """torch's attention, whose three gradients are copied to where a linear layer reads them.

    Autograd alone stacks them first and then turns the stack around: two copies, both slow.
    """

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, num_heads: int) -> Tensor:  # noqa: D102
        wanted = ctx.needs_input_grad[0]
        parts = qkv.detach().unflatten(-1, (3, num_heads, -1)).unbind(2)  # (N, T, h, d) each
        leaves = [part.requires_grad_(wanted) for part in parts]
        with torch.set_grad_enabled(wanted):
            q, k, v = (part.transpose(1, 2) for part in leaves)
            out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        ctx.leaves, ctx.out = leaves, out
        return out.detach().flatten(2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # noqa: D102
        grads = torch.autograd.grad(ctx.out, ctx.leaves, grad.view(ctx.out.shape))
        N, T, h, d = ctx.out.shape
        out = grad.new_empty(N, T, 3, h, d)
        for place, part in zip(out.unbind(2), grads, strict=True):
            place.copy_(part)
        return out.view(N, T, 3 * h * d), None
