"""Fréchet inception distance (Heusel et al. 2017, arXiv:1706.08500), by torchmetrics."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.image.fid import FrechetInceptionDistance

from ditbench.metrics.metric import Comparison, GivenFeatures, Metric


class FID(Metric):
    """The distance of two Gaussians with the means and covariances of the features.

    Compares the samples with all real images. Computed in float64.
    """

    name = "fid"
    title = "FID"
    direction = "lower"
    format = ".2f"
    scale = "log"

    def __init__(self, comparison: Comparison) -> None:
        super().__init__(comparison)
        real, device = comparison.real, comparison.device
        network = GivenFeatures(len(real.features_sum))
        self._fid = FrechetInceptionDistance(network).to(device)
        # The sums that `update(..., real=True)` of torchmetrics would have accumulated.
        self._fid.real_features_sum = real.features_sum.to(device)
        self._fid.real_features_cov_sum = real.outer_sum.to(device)
        self._fid.real_features_num_samples = torch.tensor(real.count, device=device)

    def update(self, features: Tensor, logits: Tensor | None, labels: Tensor) -> None:  # noqa: ARG002
        """Add a batch; only the features count."""
        self._fid.update(features, real=False)

    def compute(self) -> float:
        """The squared distance, 0 for equal statistics."""
        return float(self._fid.compute())
