"""Kernel inception distance (Bińkowski et al. 2018, arXiv:1801.01401), by torchmetrics."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torchmetrics.image.kid import KernelInceptionDistance

from ditbench.metrics.metric import GivenFeatures, Metric, RealStatistics

SUBSETS = 20
MAX_SUBSET_SIZE = 1_000
SEED = 0


class KID(Metric):
    """The squared maximum mean discrepancy of the features, k(a, b) = (a·b / F + 1)³, unbiased.

    The mean over 20 pairs of random subsets, one of the samples and one of the real images whose
    features `RealStatistics` keeps: at most 10,000. Computed in float64.
    """

    name = "kid"
    title = "KID"
    direction = "lower"
    format = ".3g"

    def __init__(self, real: RealStatistics, device: torch.device) -> None:
        self._real = real
        self._count = 0
        with warnings.catch_warnings():  # torchmetrics warns that it keeps all features
            warnings.simplefilter("ignore", UserWarning)
            network = GivenFeatures(len(real.features_sum))
            self._kid = KernelInceptionDistance(network, subsets=SUBSETS).to(device)
        self._kid.update(real.rows.to(device).double(), real=True)

    def update(self, features: Tensor, logits: Tensor | None, labels: Tensor) -> None:  # noqa: ARG002
        """Add a batch; only the features count."""
        self._kid.update(features, real=False)
        self._count += len(features)

    def compute(self) -> float:
        """The estimate; around 0, and sometimes below, for samples like the real images."""
        self._kid.subset_size = subset_size(self._count, self._real)
        # torchmetrics draws the subsets from the global CPU stream. The fork fixes the seed and
        # restores the stream afterwards. torch.manual_seed would also seed the GPUs.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(SEED)
            mean, _ = self._kid.compute()
        return float(mean)

    @classmethod
    def settings(cls, samples: int, real: RealStatistics) -> dict[str, int]:
        """The real images that subsets are drawn from, and how the subsets are drawn."""
        size = subset_size(samples, real)
        return {
            "real_images": len(real.rows),
            "subsets": SUBSETS,
            "subset_size": size,
            "seed": SEED,
        }


def subset_size(samples: int, real: RealStatistics) -> int:
    """Half of the smaller set, so that subsets differ: at least 2, at most the usual 1,000."""
    return max(2, min(MAX_SUBSET_SIZE, min(samples, len(real.rows)) // 2))
