"""Precision, recall, density and coverage, from one computation of distances.

Precision and recall: Kynkäänniemi et al. 2019, arXiv:1904.06991. Density and coverage: Naeem et al.
2020, arXiv:2002.09797. A ball lies around each image, as far as its fifth nearest neighbour of the
same set. Samples are compared with at most 10,000 real images. Distances are in float64.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from ditbench.metrics.metric import Comparison, Metric
from ditbench.metrics.pairs import chunks, kth_distances
from ditbench.metrics.real import NEIGHBOURS


class Neighbours(NamedTuple):
    """The four scores of one evaluation."""

    precision: float  # the share of samples that lie in the ball of a real image: quality
    # The share of real images that lie in the ball of a sample: variety. The balls of few samples
    # are large, also those of poor samples: see coverage.
    recall: float
    # The number of real balls that a sample lies in, divided by 5: around 1 for real images. Unlike
    # precision, one outlier among the real images, whose ball is large, changes it little.
    density: float
    coverage: float  # the share of real images whose ball holds a sample: variety


def neighbours(comparison: Comparison) -> Neighbours:
    """All four, in one pass over the distances between real images and samples."""
    samples, real = comparison.features, comparison.real
    count = len(real.subset)
    own_radii = kth_distances(samples, NEIGHBOURS)  # (N,)
    balls = torch.zeros_like(own_radii)  # how many real balls each sample lies in
    recalled, covered = balls.new_zeros(()), balls.new_zeros(())
    start = 0
    for part in chunks(real.subset, samples):
        distances = torch.cdist(part, samples)  # (m, N)
        inside = distances < real.radii[start : start + len(part)].to(samples)[:, None]
        balls += inside.sum(0)
        covered += inside.any(1).sum()
        recalled += (distances < own_radii).any(1).sum()
        start += len(part)
    return Neighbours(
        precision=float((balls > 0).double().mean()),
        recall=float(recalled / count),
        density=float(balls.mean() / NEIGHBOURS),
        coverage=float(covered / count),
    )


def _metric(name: str, *, each_sample_by_itself: bool) -> Metric:
    return Metric(
        name, name.capitalize(), "higher", ".3f",
        lambda comparison: getattr(comparison.once(neighbours), name),
        settings=lambda _samples, real: {"real_images": len(real.subset), "neighbours": NEIGHBOURS},
        depends_on_samples=not each_sample_by_itself, needs_rows=True,
    )  # fmt: skip


PRECISION = _metric("precision", each_sample_by_itself=True)
RECALL = _metric("recall", each_sample_by_itself=False)
DENSITY = _metric("density", each_sample_by_itself=True)
COVERAGE = _metric("coverage", each_sample_by_itself=False)
