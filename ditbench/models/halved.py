"""Copies of float32 weights in half precision, made once for many uses."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def half(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """The weight in half precision: its copy, within `halved` or `Halved.fresh`."""
    copy: Tensor | None = getattr(weight, "half_copy", None)
    return weight.detach().to(dtype) if copy is None else copy


@contextmanager
def halved(
    weights: Sequence[Tensor], dtype: torch.dtype, copies: Sequence[Tensor] | None = None
) -> Iterator[None]:
    """Within it `half` finds copies: those given, or ones made at its beginning."""
    copies = [weight.detach().to(dtype) for weight in weights] if copies is None else copies
    for weight, copy in zip(weights, copies, strict=True):
        weight.half_copy = copy  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for weight in weights:
            del weight.half_copy  # type: ignore[attr-defined]


class Halved:
    """The copies of weights that lie in one storage: one operation makes all of them anew.

    Args:
        weights: views of `flat`, which begins with the first.
        flat: all of them, float32 (numbers,).
        dtype: of the copies.
    """

    def __init__(self, weights: Sequence[Tensor], flat: Tensor, dtype: torch.dtype) -> None:
        self.weights = weights
        self.flat = flat
        self.copy = torch.empty_like(flat, dtype=dtype)
        self.copies = [
            self.copy.as_strided(each.shape, each.stride(), each.storage_offset())
            for each in weights
        ]

    @contextmanager
    def fresh(self) -> Iterator[None]:
        """Within it `half` finds the copies of what the weights are at its beginning."""
        self.copy.copy_(self.flat)
        with halved(self.weights, self.copy.dtype, self.copies):
            yield
