"""Kernel inception distance (Bińkowski et al. 2018, arXiv:1801.01401)."""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch
from torchmetrics.image.kid import KernelInceptionDistance

from ditbench.metrics.metric import Comparison, GivenFeatures, Metric, RealStatistics
from ditbench.metrics.pairs import mean_kernel, mean_kernel_within

SUBSETS = 20
MAX_SUBSET_SIZE = 1_000
SEED = 0


def kid(comparison: Comparison) -> float:
    """The squared maximum mean discrepancy of the features, k(a, b) = (a·b / F + 1)³.

    The unbiased estimate (Gretton et al. 2012, eq. 3) from all pairs of all samples and of the real
    images whose features `RealStatistics` keeps: at most 50,000. It is around 0, and sometimes
    below, for samples like the real images. Computed in float64.
    """
    real, features = comparison.real, comparison.features
    between = mean_kernel(real.rows, features)
    return float(mean_kernel_within(features) + real.mean_kernel - 2 * between)


KID = Metric(
    "kid", "KID", "lower", ".3g", kid, version=2, needs_rows=True,
    settings=lambda _samples, real: {"real_images": len(real.rows)},
)  # fmt: skip


def subset_kid(comparison: Comparison) -> float:
    """The first version of KID, for runs that were begun with it; by torchmetrics.

    The mean of the estimate over 20 pairs of random subsets, one of the samples and one of 10,000
    real images. Another choice of subsets gives another value, for all runs alike.
    """
    real, features = comparison.real, comparison.features
    with warnings.catch_warnings():  # torchmetrics warns that it keeps all features
        warnings.simplefilter("ignore", UserWarning)
        metric = KernelInceptionDistance(
            GivenFeatures(features.shape[1]),
            subsets=SUBSETS,
            subset_size=subset_size(len(features), real),
            sync_on_compute=False,  # see FID
        )
    metric.update(real.subset.to(features), real=True)
    metric.update(features, real=False)
    # torchmetrics draws the subsets from the global CPU stream. The fork fixes the seed and
    # restores the stream afterwards. torch.manual_seed would also seed the GPUs.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)
        mean, _ = metric.compute()
    return float(mean)


def subset_size(samples: int, real: RealStatistics) -> int:
    """Half of the smaller set, so that subsets differ: at least 2, at most the usual 1,000."""
    return max(2, min(MAX_SUBSET_SIZE, min(samples, len(real.subset)) // 2))


SUBSET_KID = replace(
    KID,
    compute=subset_kid,
    version=1,
    settings=lambda samples, real: {
        "real_images": len(real.subset),
        "subsets": SUBSETS,
        "subset_size": subset_size(samples, real),
        "seed": SEED,
    },
)
