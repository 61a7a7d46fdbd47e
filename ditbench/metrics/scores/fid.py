"""Fréchet inception distance (Heusel et al. 2017, arXiv:1706.08500)."""

from __future__ import annotations

import torch
from torch import Tensor

from ditbench.metrics.metric import Comparison, Metric


def fid(comparison: Comparison) -> float:
    """The squared distance of two Gaussians with the means and covariances of the features.

    Compares the samples with all real images; 0 for equal statistics. Computed in float64.
    """
    real, samples = comparison.real, comparison.features
    sums = (real.features_sum.to(samples), real.outer_sum.to(samples), real.count)
    real_mean, real_covariance = gaussian(*sums)
    mean, covariance = gaussian(samples.sum(0), samples.T @ samples, len(samples))
    root = torch.linalg.eigvals(real_covariance @ covariance).sqrt().real.sum()
    shift = (real_mean - mean).square().sum()
    return float(shift + real_covariance.trace() + covariance.trace() - 2 * root)


def gaussian(features_sum: Tensor, outer_sum: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean (F,) and covariance (F, F) of so many features, from their sums."""
    mean = features_sum / count
    return mean, (outer_sum - count * mean.outer(mean)) / (count - 1)


FID = Metric("fid", "FID", "lower", ".2f", fid, scale="log")
