"""Sums over rows, which are the gradients of biases.

A kernel that makes the gradient of a linear layer's output has every row of it at hand: it sums
rows on the way, and the layer's backward pass need not read all of them again. What is left are
partial sums, some hundred rows of them; they travel on the gradient itself.

Legend of shapes: L columns, P partial sums of each.
"""

from __future__ import annotations

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

# Rows at a time, columns and warps of a program; partial sums are few, and soon read.
SUM = {"ROWS": 128, "COLUMNS": 32, "num_warps": 8}


@triton.jit
def _sum_kernel(x, out, P, L, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    for start in range(0, P, ROWS):
        rows = start + tl.arange(0, ROWS)
        mask = (rows < P)[:, None] & (columns < L)[None, :]
        total += tl.load(x + rows[:, None] * L + columns[None, :], mask, 0.0)
    tl.store(out + columns, tl.sum(total, 0), columns < L)


def sum_partial(sums: Tensor) -> Tensor:
    """The sum of partial sums: (P, L) to (L,), float32."""
    P, L = sums.shape
    out = sums.new_empty(L)
    _sum_kernel[(triton.cdiv(L, SUM["COLUMNS"]),)](sums, out, P, L, **SUM)
    return out


def note_sums(x: Tensor, *sums: Tensor) -> Tensor:
    """Have a tensor x (..., L) remember partial sums over its rows, for `sum_rows`; returns x.

    Args:
        x: what is summed.
        sums: float32 (P, part of L); of its columns from left to right.
    """
    # An operation in place, such as the addition of another gradient, makes them void.
    x.partial_sums = (x._version, sums)  # type: ignore[attr-defined]
    return x


def sum_rows(x: Tensor) -> Tensor:
    """The sum over all but the last dimension, in float32: (..., L) to (L,).

    Where nobody noted partial sums it is a matrix product with a row of ones: the library's kernels
    read a little faster than one written for it, and leave no partial sums to add up.
    """
    version, sums = getattr(x, "partial_sums", (None, ()))
    if version == x._version:
        parts = [sum_partial(each) for each in sums]
        return parts[0] if len(parts) == 1 else torch.cat(parts)
    rows = x.flatten(0, -2)
    if not x.is_cuda:  # the interpreter, in tests
        return rows.float().sum(0)
    return torch.mm(_ones(len(rows), x.dtype, x.device), rows, out_dtype=torch.float32)[0]


@cache
def _ones(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.ones(1, count, dtype=dtype, device=device)
