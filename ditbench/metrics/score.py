"""Scores of generated images: FID, KID and label accuracy, by torchmetrics. Seconds to import."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.metrics.real import RealStatistics, real_statistics

if TYPE_CHECKING:
    from ditbench.metrics.extractors import Extractor

__all__ = ["RealStatistics", "Scorer", "real_statistics"]

KID_SUBSETS = 20
KID_MAX_SUBSET_SIZE = 1_000
KID_SEED = 0
MIN_SAMPLES = 2  # for a covariance; enough to compute, never enough to conclude


class _PassThrough(nn.Module):
    """Stands where torchmetrics expects a network, and is given features in place of images.

    So FID, KID and label accuracy share one forward pass of the extractor; torchmetrics would run
    it once for each of them.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        """(N, F) -> (N, F)."""
        return features


class Scorer:
    """Scores samples against real images; all distances are computed in float64.

    Args:
        extractor: already on `device`.
        real: `real_statistics` of the same extractor.
        device: where samples come from. The metrics are computed there too, but on the CPU for
            MPS, which has no float64.
    """

    def __init__(
        self, extractor: Extractor, real: RealStatistics, device: torch.device | str = "cpu"
    ) -> None:
        self.extractor = extractor
        self.real = real
        self.device = torch.device(device)
        self._metric_device = torch.device("cpu") if self.device.type == "mps" else self.device
        self._count = 0
        self._fid = _fid(extractor.num_features, real, self._metric_device)
        self._kid = _kid(extractor.num_features, real, self._metric_device)
        self._accuracy = (
            MulticlassAccuracy(extractor.num_classes, average="micro").to(self._metric_device)
            if extractor.num_classes is not None
            else None
        )

    @property
    def settings(self) -> dict[str, int]:
        """What KID depends on beside the images, to be recorded with it."""
        return {
            "kid_subsets": KID_SUBSETS,
            "kid_subset_size": self._kid_subset_size(),
            "kid_seed": KID_SEED,
        }

    def update(self, images: Tensor, labels: Tensor) -> None:
        """Add samples.

        Args:
            images: (N, C, H, W) uint8, quantised by `ditbench.data.dataset.to_uint8`.
            labels: (N,) integer, the class that was asked for.

        Raises:
            ValueError: not one label an image.
            DitbenchError: images of another shape than the extractor's.
        """
        if labels.shape != images.shape[:1]:
            raise ValueError(f"{len(images)} images, but labels of shape {tuple(labels.shape)}")
        features, logits = self.extractor(images.to(self.device))
        features = features.to(self._metric_device).double()
        self._fid.update(features, real=False)
        self._kid.update(features, real=False)
        if self._accuracy is not None:
            self._accuracy.update(
                logits.argmax(1).to(self._metric_device), labels.to(self._metric_device)
            )
        self._count += len(images)

    def compute(self) -> dict[str, float]:
        """The scores of all samples since the last `reset`.

        Returns:
            `fid` and `kid` (lower is better), and `label_accuracy` in [0, 1] where the extractor
            classifies: the share of samples in which it sees the class that was asked for.

        Raises:
            DitbenchError: fewer than two samples or real images; exit code 1, when a score is not
                a finite number.
        """
        if min(self._count, self.real.count) < MIN_SAMPLES:
            raise DitbenchError(
                f"cannot score {self._count} samples against {self.real.count} real images",
                f"at least {MIN_SAMPLES} of each are needed: --set eval.samples=2000",
            )
        scores = {"fid": float(self._fid.compute()), "kid": self._compute_kid()}
        if self._accuracy is not None:
            scores["label_accuracy"] = float(self._accuracy.compute())
        for name, score in scores.items():
            if not math.isfinite(score):
                raise DitbenchError(
                    f"{name} is {score}", "the samples have no usable statistics", EXIT_FAILED
                )
        return scores

    def reset(self) -> None:
        """Forget the samples; the real statistics stay."""
        self._count = 0
        self._fid.reset()
        self._kid.reset()
        if self._accuracy is not None:
            self._accuracy.reset()

    def _kid_subset_size(self) -> int:
        """Half of the smaller side, so that subsets differ; the customary 1,000 at most."""
        half = min(self._count, len(self.real.rows)) // 2
        return max(MIN_SAMPLES, min(KID_MAX_SUBSET_SIZE, half))

    def _compute_kid(self) -> float:
        self._kid.subset_size = self._kid_subset_size()
        # torchmetrics draws the subsets from the global CPU stream. Inside the fork its seed is
        # fixed, and afterwards it is where it was. torch.manual_seed would reach the GPUs' too.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(KID_SEED)
            mean, _ = self._kid.compute()
        return float(mean)


def _fid(num_features: int, real: RealStatistics, device: torch.device) -> FrechetInceptionDistance:
    fid = FrechetInceptionDistance(_PassThrough(num_features), reset_real_features=False)
    fid = fid.to(device)
    # The sums that its own `update(..., real=True)` would have gathered.
    fid.real_features_sum = real.features_sum.to(device)
    fid.real_features_cov_sum = real.outer_sum.to(device)
    fid.real_features_num_samples = torch.tensor(real.count, device=device)
    return fid


def _kid(num_features: int, real: RealStatistics, device: torch.device) -> KernelInceptionDistance:
    with warnings.catch_warnings():  # that it keeps all features, which is known here
        warnings.simplefilter("ignore", UserWarning)
        kid = KernelInceptionDistance(
            _PassThrough(num_features), subsets=KID_SUBSETS, reset_real_features=False
        )
    kid = kid.to(device)
    kid.update(real.rows.to(device).double(), real=True)
    return kid
