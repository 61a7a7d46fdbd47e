"""Fréchet inception distance (Heusel et al. 2017, arXiv:1706.08500)."""

from __future__ import annotations

import torch
from torch import Tensor

from ditbench.metrics.metric import Comparison, Metric


def fid(comparison: Comparison) -> float:
    """The squared distance of two Gaussians with the means and covariances of the features.

    Compares the samples with all real images; 0 for equal statistics. Computed in float64. To the
    last digit that of torchmetrics, whose import takes seconds.
    """
    real, samples = comparison.real, comparison.features  # (N, F)
    batches = samples.split(comparison.sizes)
    features_sum = sum(batch.sum(0) for batch in batches)
    outer_sum = sum(batch.T @ batch for batch in batches)
    mean, covariance = _gaussian(features_sum, outer_sum, len(samples))
    of_real = _gaussian(real.features_sum.to(samples), real.outer_sum.to(samples), real.count)
    # The trace of the root of a product is the sum of the roots of its eigenvalues.
    roots = torch.linalg.eigvals(of_real[1] @ covariance).sqrt().real
    traces = of_real[1].trace() + covariance.trace()
    return float((of_real[0] - mean).square().sum() + traces - 2 * roots.sum())


def _gaussian(features_sum: Tensor, outer_sum: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The mean (F,) and the covariance (F, F) of `count` rows, from sums over them."""
    # A tensor: instead of dividing by a number, a GPU multiplies by its inverse.
    N = torch.tensor(count, device=features_sum.device)
    mean = features_sum / N
    return mean, (outer_sum - N * mean.outer(mean)) / (N - 1)


FID = Metric("fid", "FID", "lower", ".2f", fid, scale="log")
