"""Fréchet inception distance (Heusel et al. 2017, arXiv:1706.08500), by torchmetrics."""

from __future__ import annotations

import torch
from torchmetrics.image.fid import FrechetInceptionDistance

from ditbench.metrics.metric import Comparison, GivenFeatures, Metric


def fid(comparison: Comparison) -> float:
    """The squared distance of two Gaussians with the means and covariances of the features.

    Compares the samples with all real images; 0 for equal statistics. Computed in float64.
    """
    real, samples = comparison.real, comparison.features
    # Each process of a world has all features: there is nothing to add up.
    metric = FrechetInceptionDistance(GivenFeatures(samples.shape[1]), sync_on_compute=False)
    metric = metric.to(samples.device)
    # The sums that `update(..., real=True)` of torchmetrics would have accumulated.
    metric.real_features_sum = real.features_sum.to(samples)
    metric.real_features_cov_sum = real.outer_sum.to(samples)
    metric.real_features_num_samples = torch.tensor(real.count, device=samples.device)
    for batch in samples.split(comparison.sizes):
        metric.update(batch, real=False)
    return float(metric.compute())


FID = Metric("fid", "FID", "lower", ".2f", fid, scale="log")
