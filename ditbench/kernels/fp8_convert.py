"""`fp8.convert` by a kernel: a matrix is read once, and written in both orders."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ditbench.kernels.fp8 import Scaled, scale_of

TILE = {"rows": 64, "columns": 128, "warps": 4}


@triton.jit
def _convert_kernel(
    x, scale, rows, columns, R, C, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):  # fmt: skip
    r = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    c = tl.program_id(1).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    mask = (r < R)[:, None] & (c < C)[None, :]
    value = tl.load(x + r[:, None] * C + c[None, :], mask, 0.0).to(tl.float32)
    numbers = (value / tl.load(scale)).to(rows.dtype.element_ty)
    tl.store(rows + r[:, None] * C + c[None, :], numbers, mask)
    tl.store(columns + c[:, None] * R + r[None, :], tl.trans(numbers), tl.trans(mask))


def convert(x: Tensor, dtype: torch.dtype) -> Scaled:
    """`fp8.convert` of a matrix (R, C), on a GPU."""
    x = x.contiguous()
    R, C = x.shape
    scale = scale_of(x, dtype)
    rows = torch.empty(R, C, dtype=dtype, device=x.device)
    columns = torch.empty(C, R, dtype=dtype, device=x.device)
    grid = triton.cdiv(R, TILE["rows"]), triton.cdiv(C, TILE["columns"])
    _convert_kernel[grid](
        x, scale, rows, columns, R, C, TILE["rows"], TILE["columns"], num_warps=TILE["warps"]
    )
    return Scaled(rows, columns, scale)
