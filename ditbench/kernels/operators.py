"""Kernels as custom operators of torch, which torch.compile does not trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def operator(schema: str, fake: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Register the decorated function as `ditbench::<its name>`.

    Args:
        schema: its signature, as in "(Tensor x, int n) -> Tensor".
        fake: returns uninitialised results of the right shapes and types for the same arguments.
    """

    def register(function: Callable[..., Any]) -> Any:
        name = f"ditbench::{function.__name__}"
        op = torch.library.custom_op(name, function, mutates_args=(), schema=schema)
        op.register_fake(fake)
        return op

    return register
