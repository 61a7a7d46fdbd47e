"""`fp8.convert` by a kernel: a matrix is read once, and written in both orders.

Numbers are rounded by integer arithmetic. Where a kernel lets the GPU convert to FP8 and stores
both orders, the assembler of CUDA 12.9, which Triton brings, corrupts one of them on Hopper
(triton-lang/triton, issue 11111).
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from ditbench.kernels.fp8 import Scaled, scale_of

TILE = {"rows": 32, "columns": 128, "warps": 4}


@triton.jit
def _rounded(value, BITS: tl.constexpr, SHRINK: tl.constexpr):
    """The bytes of the nearest FP8 numbers with so many bits after the point, ties to even.

    Shrunk by the difference of the exponents' offsets, numbers of FP8 are float32 with fewer bits.
    """
    bits = (value * SHRINK).to(tl.int32, bitcast=True)
    size = bits & 0x7FFFFFFF
    dropped: tl.constexpr = 23 - BITS
    size = (size + (1 << (dropped - 1)) - 1 + ((size >> dropped) & 1)) >> dropped
    size = tl.where(value == value, size, 0x7F)  # not a number
    return (size | ((bits >> 24) & 0x80)).to(tl.uint8)


@triton.jit
def _convert_kernel(
    x, scale, rows, columns, R, C,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, BITS: tl.constexpr, SHRINK: tl.constexpr,
):  # fmt: skip
    r = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    c = tl.program_id(1).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    mask = (r < R)[:, None] & (c < C)[None, :]
    value = tl.load(x + r[:, None] * C + c[None, :], mask, 0.0).to(tl.float32)
    numbers = _rounded(value * tl.div_rn(1.0, tl.load(scale)), BITS, SHRINK)
    tl.store(rows + r[:, None] * C + c[None, :], numbers, mask)
    tl.store(columns + c[:, None] * R + r[None, :], tl.trans(numbers), tl.trans(mask))


def convert(x: Tensor, dtype: torch.dtype) -> Scaled:
    """`fp8.convert` of a matrix (R, C), on a GPU."""
    R, C = x.shape
    scale = scale_of(x, dtype)
    rows = torch.empty(R, C, dtype=dtype, device=x.device)
    columns = torch.empty(C, R, dtype=dtype, device=x.device)
    limits = torch.finfo(dtype)
    bits = -round(math.log2(limits.eps))
    shrink = torch.finfo(torch.float32).tiny / limits.tiny
    grid = triton.cdiv(R, TILE["rows"]), triton.cdiv(C, TILE["columns"])
    _convert_kernel[grid](
        x.contiguous(), scale, rows.view(torch.uint8), columns.view(torch.uint8), R, C,
        TILE["rows"], TILE["columns"], bits, shrink, num_warps=TILE["warps"],
    )  # fmt: skip
    return Scaled(rows, columns, scale)
