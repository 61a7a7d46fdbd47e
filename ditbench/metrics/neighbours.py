"""Precision, recall, density and coverage, from one computation of distances.

Precision and recall: Kynkäänniemi et al. 2019, arXiv:1904.06991. Density and coverage: Naeem et al.
2020, arXiv:2002.09797. A ball lies around each image, as far as its fifth nearest neighbour of the
same set. Samples are compared with at most 10,000 real images. Distances are in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ditbench.metrics.metric import Comparison, Metric, RealStatistics
from ditbench.metrics.pairs import chunks, kth_distances
from ditbench.metrics.real import NEIGHBOURS


@dataclass(frozen=True)
class Neighbours:
    """The four scores of one evaluation."""

    precision: float
    recall: float
    density: float
    coverage: float


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


class _OfNeighbours(Metric):
    """One of the four."""

    direction = "higher"
    format = ".3f"

    @classmethod
    def settings(cls, samples: int, real: RealStatistics) -> dict[str, int]:  # noqa: ARG003
        """The real images that the samples are compared with, and the k of nearest neighbours."""
        return {"real_images": len(real.subset), "neighbours": NEIGHBOURS}


class Precision(_OfNeighbours):
    """The share of samples that lie in the ball of a real image: quality."""

    name = "precision"
    title = "Precision"
    depends_on_samples = False  # each sample counts by itself

    def compute(self) -> float:
        """The share."""
        return self.comparison.once(neighbours).precision


class Recall(_OfNeighbours):
    """The share of real images that lie in the ball of a sample: variety.

    The balls of few samples are large, also those of poor samples: see coverage.
    """

    name = "recall"
    title = "Recall"

    def compute(self) -> float:
        """The share."""
        return self.comparison.once(neighbours).recall


class Density(_OfNeighbours):
    """The number of real balls that a sample lies in, divided by 5: around 1 for real images.

    Unlike precision, one outlier among the real images, whose ball is large, changes it little.
    """

    name = "density"
    title = "Density"
    depends_on_samples = False  # each sample counts by itself

    def compute(self) -> float:
        """The number."""
        return self.comparison.once(neighbours).density


class Coverage(_OfNeighbours):
    """The share of real images whose ball holds a sample: variety."""

    name = "coverage"
    title = "Coverage"

    def compute(self) -> float:
        """The share."""
        return self.comparison.once(neighbours).coverage
