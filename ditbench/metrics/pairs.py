"""Sums and distances over all pairs of feature vectors, in chunks: memory stays bounded.

Everything is computed in the dtype and on the device of the last argument: give it float64. Legend:
N and M vectors, F features.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

CHUNK = 2**22  # pairs at a time: 32 MiB in float64


def chunks(x: Tensor, y: Tensor) -> Iterator[Tensor]:
    """Parts of x (N, F), in order, each with at most `CHUNK` pairs with y (M, F)."""
    for part in x.split(max(1, CHUNK // max(1, len(y)))):
        yield part.to(y)


def mean_kernel(x: Tensor, y: Tensor) -> Tensor:
    """The mean of k(a, b) = (a·b / F + 1)³ over all pairs of x (N, F) and y (M, F)."""
    total = sum((_kernel(part, y).sum() for part in chunks(x, y)), y.new_zeros(()))
    return total / (len(x) * len(y))


def mean_kernel_within(x: Tensor) -> Tensor:
    """The mean of k(a, b) over all pairs of different vectors of x (N, F); NaN if N is 1."""
    with_themselves = (x.square().mean(1) + 1).pow(3).sum()
    return (mean_kernel(x, x) * len(x) ** 2 - with_themselves) / (len(x) * (len(x) - 1))


def nearest(x: Tensor, y: Tensor) -> Tensor:
    """The distance (N,) of each vector of x (N, F) to the nearest of y (M, F)."""
    return torch.cat([_nearest(part, y, torch.cdist(part, y)) for part in chunks(x, y)])


def nearest_other(x: Tensor) -> Tensor:
    """The distance (N,) of each vector of x (N, F) to the nearest other one; infinite if N is 1."""
    return torch.cat([_nearest(part, x, distances) for part, distances in _to_others(x)])


def kth_distances(x: Tensor, k: int) -> Tensor:
    """The distance (N,) of each vector of x (N, F) to its k-th nearest other one.

    Of k or fewer vectors, to the farthest other one; infinite if N is 1.
    """
    k = max(1, min(k, len(x) - 1))
    parts = [d.topk(k, largest=False).values[:, -1] for _, d in _to_others(x)]
    return torch.cat(parts)


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return torch.addmm(y.new_ones(()), x, y.T, alpha=1 / y.shape[1]).pow_(3)


def _to_others(x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Each part of x (N, F) with its distances (n, N), those to itself infinite."""
    start = 0
    for part in chunks(x, x):
        distances = torch.cdist(part, x)
        distances.diagonal(start).fill_(torch.inf)
        yield part, distances
        start += len(part)


def _nearest(x: Tensor, y: Tensor, distances: Tensor) -> Tensor:
    """The least of the distances (N, M), exact: those that a matrix product gave miss 0."""
    least, index = distances.min(1)
    return (x - y[index]).norm(dim=1).where(least.isfinite(), least)
