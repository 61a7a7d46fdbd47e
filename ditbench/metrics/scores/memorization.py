"""Memorization: samples that are closer to a training image than these are to each other."""

from __future__ import annotations

from ditbench.metrics.metric import Comparison, Metric
from ditbench.metrics.pairs import nearest

PERCENT = 1


def memorization(comparison: Comparison) -> float:
    """The share of samples whose nearest real image is nearer than usual, in [0, 1].

    Nearer than 99% of the real images are to their nearest other one: expected is 0.01 for new real
    images. Of a data set with more than 50,000 images, only 50,000 are searched. Where 1% of the
    images have exact copies, only exact copies among the samples count. Computed in float64.
    """
    real, features = comparison.real, comparison.features
    usual = real.nearest.quantile(PERCENT / 100).to(features)
    return float((nearest(features, real.rows.to(features)) <= usual).double().mean())


MEMORIZATION = Metric(
    "memorization", "Memorized", "lower", ".3f", memorization, needs_rows=True,
    settings=lambda _samples, real: {"real_images": len(real.rows), "percent": PERCENT},
    depends_on_samples=False,  # each sample counts by itself
)  # fmt: skip
