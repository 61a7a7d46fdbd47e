"""What blocks are made of, by torch's own operations or, on a GPU in half precision, by kernels.

Each function's plain form is its definition; a kernel computes the same to rounding.

Legend of shapes: N batch, T tokens, S context tokens, D hidden size, h heads, d = D / h.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ditbench.kernel_type import kernel_type

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ditbench.models.switches import NormKind

# As in the published models.
NORM_EPS = 1e-6
# Compiled for a CPU: up to so many scores a head, attention is faster as two products.
MOST_SCORES = 4096
_NORMS: dict[NormKind, Callable[..., Tensor]] = {"layer": F.layer_norm, "rms": F.rms_norm}
_TWICE_Z = 2 * math.sqrt(2 / math.pi)

ALL = slice(None)
"""All rows."""


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A linear layer: x (..., K), weight (L, K) and bias (L,) to (..., L)."""
    return linears(x, [weight], [bias])


def linears(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], rows: slice = ALL
) -> Tensor:
    """Linear layers on one input by one matrix product: small ones leave a GPU idle.

    Args:
        x: (..., K).
        weights: of each layer, (L, K).
        biases: of each layer, (L,).
        rows: of every weight and bias; a part of the layers' outputs.

    Returns:
        What the layers give side by side.
    """
    dtype = kernel_type(x)
    if dtype is None:
        return F.linear(x, joined(weights, rows), joined(biases, rows))
    from ditbench.models.kernels.linear import Linear

    return Linear.apply(x.to(dtype), rows, *weights, *biases)


def joined(parameters: Sequence[Tensor], rows: slice = ALL) -> Tensor:
    """Rows of weights or biases, below each other."""
    parts = parameters if rows == ALL else [each[rows] for each in parameters]
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A linear layer and the tanh-approximated GELU of it, shapes as in `linear`."""
    dtype = kernel_type(x)
    if dtype is None:
        return _gelu(F.linear(x, weight, bias))
    from ditbench.models.kernels.linear import LinearGelu, linear_gelu_alone

    if not torch.is_grad_enabled():
        return linear_gelu_alone(x.to(dtype), weight, bias)
    return LinearGelu.apply(x.to(dtype), weight, bias)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Shift and scale every token alike: x (N, T, D), shift and scale (N, 1, D)."""
    return torch.addcmul(shift, x, 1 + scale)


def norm(
    x: Tensor,
    shift: Tensor | None = None,
    scale: Tensor | None = None,
    *,
    kind: NormKind = "layer",
) -> Tensor:
    """Layer or RMS norm of x (N, T, D) without gain and bias, then `modulate` where asked for."""
    dtype = kernel_type(x)
    if dtype is not None:
        from ditbench.models.kernels.residual import Residual

        return Residual.apply(x, None, None, shift, scale, NORM_EPS, kind, dtype)[1]
    x = _NORMS[kind](x, x.shape[-1:], eps=NORM_EPS)
    return x if shift is None or scale is None else modulate(x, shift, scale)


def add(x: Tensor, h: Tensor, gate: Tensor | None = None) -> Tensor:
    """A residual connection: x + gate * h for x and h (N, T, D) and a gate (N, 1, D)."""
    dtype = kernel_type(x)
    if dtype is not None:
        from ditbench.models.kernels.residual import Residual

        return Residual.apply(x, h.to(dtype), gate, None, None, NORM_EPS, None, dtype)[0]
    return x + h if gate is None else torch.addcmul(x, gate, h)


def add_norm(
    x: Tensor,
    h: Tensor,
    gate: Tensor | None = None,
    shift: Tensor | None = None,
    scale: Tensor | None = None,
    *,
    kind: NormKind = "layer",
) -> tuple[Tensor, Tensor]:
    """`add`, and the `norm` of it: two results (N, T, D)."""
    dtype = kernel_type(x)
    if dtype is not None:
        from ditbench.models.kernels.residual import Residual

        return Residual.apply(x, h.to(dtype), gate, shift, scale, NORM_EPS, kind, dtype)
    x = add(x, h, gate)
    return x, norm(x, shift, scale, kind=kind)


def self_attention(qkv: Tensor, num_heads: int) -> Tensor:
    """Attention of tokens among themselves.

    Args:
        qkv: queries, keys and values side by side (N, T, 3 D).
        num_heads: h.

    Returns:
        The heads side by side, (N, T, D).
    """
    if kernel_type(qkv) == qkv.dtype:
        from ditbench.models.kernels import packed

        return packed.self_attention(qkv, num_heads)
    q, k, v = qkv.unflatten(-1, (3, num_heads, -1)).permute(2, 0, 3, 1, 4)
    return _attend(q, k, v)


def cross_attention(q: Tensor, kv: Tensor, num_heads: int) -> Tensor:
    """Attention of tokens over a context.

    Args:
        q: queries (N, T, D).
        kv: keys and values side by side (N, S, 2 D).
        num_heads: h.

    Returns:
        The heads side by side, (N, T, D).
    """
    if kernel_type(q) == q.dtype:
        from ditbench.models.kernels import attention

        if attention.fits(kv.shape[1], q.shape[2] // num_heads):
            return attention.CrossAttention.apply(q, kv, num_heads)
    k, v = kv.unflatten(-1, (2, num_heads, -1)).permute(2, 0, 3, 1, 4)
    return _attend(q.unflatten(-1, (num_heads, -1)).transpose(1, 2), k, v)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention over (N, h, T, d), heads joined again: (N, T, D)."""
    if _is_compiled_for_cpu(q) and q.shape[2] * k.shape[2] <= MOST_SCORES:
        scores = (q * q.shape[3] ** -0.5) @ k.transpose(2, 3)  # (N, h, T, S)
        out = scores.softmax(dim=-1) @ v
    else:
        out = F.scaled_dot_product_attention(q, k, v)
    return out.transpose(1, 2).flatten(2)


def _gelu(x: Tensor) -> Tensor:
    """The tanh-approximated GELU."""
    if not _is_compiled_for_cpu(x):
        return F.gelu(x, approximate="tanh")
    # The same function, for (1 + tanh z) / 2 is sigmoid(2 z): in compiled loops an exponential
    # costs a fraction of a tanh.
    return x * torch.sigmoid(_TWICE_Z * x * (1 + 0.044715 * x.square()))


def _is_compiled_for_cpu(x: Tensor) -> bool:
    """Whether a compiler asks, which fuses what would be many passes over memory, for a CPU."""
    return torch.compiler.is_compiling() and x.device.type == "cpu"


class Linear(nn.Linear):
    """torch's layer, computed by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., K) to (..., L)."""
        return linear(x, self.weight, self.bias)
