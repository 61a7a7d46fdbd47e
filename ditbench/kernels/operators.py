"""Kernels as operators of torch, which torch.compile takes as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.library import CustomOpDef


def operator(schema: str, fake: Callable[..., Any]) -> Callable[[Callable[..., Any]], CustomOpDef]:
    """Register the function below as `ditbench::<its name>`.

    Args:
        schema: its types, as in "(Tensor x, int n) -> Tensor".
        fake: from the same arguments, results of the right shape and type and no values.
    """

    def register(function: Callable[..., Any]) -> CustomOpDef:
        name = f"ditbench::{function.__name__.strip('_')}"
        op = torch.library.custom_op(name, function, mutates_args=(), schema=schema)
        op.register_fake(fake)
        return op

    return register
