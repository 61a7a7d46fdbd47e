"""Hand-written operations for a GPU in half precision; each equals a plain one up to rounding.

They are written in Triton, which compiles them in seconds. `kernel_ops` returns them as the
`ditbench.models.ops.Ops` of a model. This module does not need Triton; most others here do.
"""

from __future__ import annotations

from functools import cache, partial
from importlib.util import find_spec

import torch
from torch import Tensor

from ditbench.models import ops
from ditbench.models.ops import Ops


def kernel_ops(dtype: torch.dtype = torch.bfloat16) -> Ops:
    """The operations by kernels; products, attention and results of norms are in `dtype`."""
    from ditbench.kernels.linear import linear, linear_gelu
    from ditbench.kernels.residual import add, norm

    return Ops(
        linear=partial(linear, dtype=dtype),
        linear_gelu=partial(linear_gelu, dtype=dtype),
        norm=partial(norm, dtype=dtype),
        add=partial(add, dtype=dtype),
        attention=attention,
        cross_attention=cross_attention,
    )


def in_fp8(ops: Ops, *, fused: bool) -> Ops:
    """Operations with linear layers in FP8; if `fused`, a kernel converts their matrices."""
    from ditbench.kernels.fp8 import convert, fp8_ops

    if fused:
        from ditbench.kernels.fp8_convert import convert
    return fp8_ops(ops, convert)


def compile_ops() -> Ops:
    """Plain operations for torch.compile, except attention in half precision on a GPU."""
    return Ops(attention=_half_attention, cross_attention=_half_cross_attention)


def backward(loss: Tensor) -> None:
    """`loss.backward()`, with gradients of weights on a second stream."""
    from ditbench.kernels.side_stream import side_stream

    if loss.is_cuda:
        side_stream(loss.device).backward(loss)
    else:  # Triton's interpreter
        loss.backward()


def wait_for_gradients() -> None:
    """Let the current stream wait for the gradients that a second one computes."""
    from ditbench.kernels.side_stream import side_stream

    if torch.cuda.is_available():  # not in Triton's interpreter
        side_stream(torch.device("cuda", torch.cuda.current_device())).wait()


def _half_attention(qkv: Tensor, num_heads: int) -> Tensor:
    in_half = qkv.is_cuda and qkv.dtype != torch.float32
    return (attention if in_half else ops.attention)(qkv, num_heads)


def _half_cross_attention(q: Tensor, kv: Tensor, num_heads: int) -> Tensor:
    in_half = q.is_cuda and q.dtype == kv.dtype != torch.float32
    return (cross_attention if in_half else ops.cross_attention)(q, kv, num_heads)


def attention(qkv: Tensor, num_heads: int) -> Tensor:
    """`ops.attention`, by a kernel where the tokens are few."""
    from ditbench.kernels import short_attention

    if short_attention.fits(qkv.shape[1], qkv.shape[2] // 3 // num_heads):
        return short_attention.short_self_attention(qkv, num_heads)
    return ops.attention(qkv, num_heads)


def cross_attention(q: Tensor, kv: Tensor, num_heads: int) -> Tensor:
    """`ops.cross_attention`, by a kernel where the context is short."""
    from ditbench.kernels import short_attention

    if short_attention.fits(kv.shape[1], q.shape[2] // num_heads):
        return short_attention.short_cross_attention(q, kv, num_heads)
    return ops.cross_attention(q, kv, num_heads)


@cache
def unavailable_reason(device: torch.device) -> str | None:
    """Why the kernels cannot run on a device, in one line; None where they can."""
    if device.type != "cuda":
        return "they need an NVIDIA GPU"
    if find_spec("triton") is None:
        return "Triton is not installed"
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        return "the GPU does not compute in bf16"
    try:
        x = torch.zeros(1, 16, 16, device=device)
        kernel_ops().norm(x)
    except Exception as error:  # a toolchain can fail in any way
        return (str(error).splitlines() or [type(error).__name__])[0]
    return None


@cache
def fp8_unavailable_reason(device: torch.device) -> str | None:
    """Why a device cannot multiply matrices in FP8, in one line; None where it can."""
    from ditbench.kernels.fp8 import HALF, NARROWEST, fp8_ops

    x = torch.zeros(1, 16, NARROWEST, device=device, dtype=HALF)
    weight = torch.zeros(NARROWEST, NARROWEST, device=device, requires_grad=True)
    try:
        with torch.enable_grad():
            fp8_ops(ops.PLAIN).linear(x, weight).sum().backward()
    except Exception as error:  # torch names no type for it
        return (str(error).splitlines() or [type(error).__name__])[0]
    return None
