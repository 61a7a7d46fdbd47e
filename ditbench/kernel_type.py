"""Whether kernels of our own compute, and in which type."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


def kernel_type(x: Tensor) -> torch.dtype | None:
    """The type that kernels compute in where x is; None where torch's operations do.

    Autocast says that half precision is wanted. A compiler gets the plain form, of which it makes
    kernels of its own.
    """
    if torch.compiler.is_compiling():
        return None
    if not (x.is_cuda and torch.is_autocast_enabled("cuda") and _has_triton()):
        return None
    return torch.get_autocast_dtype("cuda")


@cache
def _has_triton() -> bool:
    try:
        import triton  # noqa: F401
    except ImportError:  # not on every system that has CUDA
        return False
    return True
