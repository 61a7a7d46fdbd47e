"""The operations of a model, each by its definition.

Legend of shapes: N batch, T tokens, S context tokens, D hidden size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

NORM_EPS = 1e-6  # as in the published models

NormKind = Literal["layer", "rms"]
NORMS: dict[NormKind, Callable[..., Tensor]] = {"layer": F.layer_norm, "rms": F.rms_norm}


def norm(
    x: Tensor, shift: Tensor | None = None, scale: Tensor | None = None, kind: NormKind = "layer"
) -> Tensor:
    """Norm of x (N, T, D) without gain, then x * (1 + scale) + shift by vectors (N, 1, D)."""
    x = NORMS[kind](x, x.shape[-1:], eps=NORM_EPS)
    if shift is None:
        return x if scale is None else x * (1 + scale)
    return x + shift if scale is None else torch.addcmul(shift, x, 1 + scale)


def add(x: Tensor, h: Tensor, gate: Tensor | None = None) -> Tensor:
    """Compute x + gate * h: a residual connection of x and h (N, T, D), gate (N, 1, D) or None.

    In x's type: the residual stream keeps its own under mixed precision.
    """
    return (x + h if gate is None else torch.addcmul(x, gate, h)).type_as(x)


def attention(qkv: Tensor, num_heads: int) -> Tensor:
    """Multi-head self-attention: q, k and v side by side (N, T, 3 D) -> (N, T, D)."""
    return _attend(num_heads, *qkv.chunk(3, dim=-1))


def cross_attention(q: Tensor, kv: Tensor, num_heads: int) -> Tensor:
    """Multi-head attention of q (N, T, D) to k and v side by side (N, S, 2 D) -> (N, T, D)."""
    return _attend(num_heads, q, *kv.chunk(2, dim=-1))


def _attend(num_heads: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (part.unflatten(-1, (num_heads, -1)).transpose(1, 2) for part in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A linear layer and the tanh-approximated GELU."""
    return F.gelu(F.linear(x, weight, bias), approximate="tanh")


def call(block: Callable[..., Any], *inputs: Any, **named: Any) -> Any:
    """Call a block."""
    return block(*inputs, **named)


@dataclass(frozen=True)
class Ops:
    """The operations of a model that can have a faster implementation, which computes the same.

    The defaults are the definition. Training passes others, such as those of `ditbench.kernels`.
    """

    linear: Callable[..., Tensor] = F.linear
    linear_gelu: Callable[..., Tensor] = linear_gelu
    norm: Callable[..., Tensor] = norm
    add: Callable[..., Any] = add
    attention: Callable[..., Tensor] = attention
    cross_attention: Callable[..., Tensor] = cross_attention
    call: Callable[..., Any] = call


PLAIN = Ops()
