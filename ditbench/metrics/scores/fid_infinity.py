"""FID extrapolated to infinitely many samples (Chong & Forsyth 2020, arXiv:1911.07023)."""

from __future__ import annotations

import torch
from torch import Tensor

from ditbench.errors import DitbenchError
from ditbench.metrics.metric import Comparison, Metric, RealStatistics

SPLITS = 4
SEED = 0


def fid_infinity(comparison: Comparison) -> float:
    """Where a line through FID over 1 / N meets 1 / N = 0: FID without its bias by sample count.

    The line goes through the FID of all samples and the mean FID of halves of them, of four random
    splits. The paper fits 15 sizes from N / 10 to N; but FID bends where samples are not many times
    the features, and halves were nearer to the true value there, and steadier. Real images keep
    their bias. Samples should be four times the features; fewer than four are a DitbenchError. The
    value is around 0, and sometimes below, for ideal samples. Computed in float64.
    """
    samples = comparison.features
    if len(samples) < 4:  # the fewest whose halves have a covariance
        what = f"cannot extrapolate FID from {len(samples)} samples"
        raise DitbenchError(what, "at least 4 are needed: --set eval.samples=2000")
    mean, root = _gaussian(comparison.real, samples)
    generator = torch.Generator().manual_seed(SEED)
    orders = [torch.randperm(len(samples), generator=generator) for _ in range(SPLITS)]
    halves = [half for order in orders for half in order.tensor_split(2)]
    of_halves = sum(_distance(samples[half], mean, root) for half in halves) / len(halves)
    return 2 * _distance(samples, mean, root) - of_halves


FID_INFINITY = Metric(
    "fid_infinity", "FID-inf", "lower", ".2f", fid_infinity,
    settings=lambda _samples, _real: {"splits": SPLITS, "parts": 2, "seed": SEED},
    depends_on_samples=False,  # the extrapolation removes the dependence, up to an error
)  # fmt: skip


def _gaussian(real: RealStatistics, like: Tensor) -> tuple[Tensor, Tensor]:
    """The real images' mean (F,), and the symmetric root (F, F) of their covariance."""
    mean = real.features_sum / real.count
    covariance = (real.outer_sum - real.count * mean.outer(mean)) / (real.count - 1)
    values, vectors = torch.linalg.eigh(covariance.to(like))
    return mean.to(like), vectors * values.clamp_min(0).sqrt() @ vectors.T


def _distance(samples: Tensor, mean: Tensor, root: Tensor) -> float:
    """The Fréchet distance of samples (N, F) to a Gaussian; symmetric, hence fast and exact."""
    covariance = torch.cov(samples.T)
    product = torch.linalg.eigvalsh(root @ covariance @ root).clamp_min(0).sqrt().sum()
    shift = (samples.mean(0) - mean).square().sum()
    return float(shift + covariance.trace() + root.square().sum() - 2 * product)
