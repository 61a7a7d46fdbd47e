"""Scores generated images: one pass of the extractor per batch, shared by all metrics."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.metrics import metric_classes
from ditbench.metrics.metric import Comparison, metric_device

if TYPE_CHECKING:
    from ditbench.metrics.extractors import Extractor
    from ditbench.metrics.metric import Metric, RealStatistics


class Scorer:
    """Scores samples against real images, by all metrics that fit the extractor.

    Args:
        extractor: on `device`.
        real: `real_statistics` of the same extractor.
        device: where samples come from. Metrics are computed there as well, except that MPS has
            no float64: its metrics are computed on the CPU.
    """

    metrics: list[Metric]

    def __init__(
        self, extractor: Extractor, real: RealStatistics, device: torch.device | str = "cpu"
    ) -> None:
        self.extractor = extractor
        self.real = real
        self.device = torch.device(device)
        self._metric_device = metric_device(self.device)
        classifies = extractor.num_classes is not None
        self._kinds = [kind for kind in metric_classes() if classifies or not kind.needs_classes]
        self.reset()

    def reset(self) -> None:
        """Forget the samples and keep the real statistics."""
        self._count = 0
        self._comparison = Comparison(self.real, self._metric_device)
        self.metrics = [kind(self._comparison) for kind in self._kinds]

    def update(
        self, images: Tensor, labels: Tensor, passed: Callable[[int], None] | None = None
    ) -> None:
        """Add samples (N, C, H, W), quantised by `to_uint8`, and the requested classes (N,).

        `passed` receives the number of images after each pass of the extractor.

        Raises:
            ValueError: the number of labels is not the number of images.
            DitbenchError: the extractor does not accept images of this shape.
        """
        if labels.shape != images.shape[:1]:
            raise ValueError(f"{len(images)} images, but labels of shape {tuple(labels.shape)}")
        features, logits = self.extractor(images.to(self.device), passed)
        features = features.to(self._metric_device).double()
        labels = labels.to(self._metric_device)
        if logits is not None:
            logits = logits.to(self._metric_device)
        self._comparison.add(features)
        for metric in self.metrics:
            metric.update(features, logits, labels)
        self._count += len(images)

    def compute(self) -> dict[str, float]:
        """The score of each metric, by name, for all samples since the last `reset`.

        Raises:
            DitbenchError: fewer than two samples or real images; exit code 1, when a score is not
                a finite number.
        """
        if min(self._count, self.real.count) < 2:  # the fewest that have a covariance
            raise DitbenchError(
                f"cannot score {self._count} samples against {self.real.count} real images",
                "at least 2 of each are needed",
            )
        scores = {metric.name: metric.compute() for metric in self.metrics}
        for name, score in scores.items():
            if not math.isfinite(score):
                hint = "the samples have no usable statistics"
                raise DitbenchError(f"{name} is {score}", hint, EXIT_FAILED)
        return scores

    def describe(self, samples: int) -> dict[str, Any]:
        """What the scores of this many samples depend on, for `result.json`."""
        settings = {kind.name: kind.settings(samples, self.real) for kind in self._kinds}
        return {
            "features": self.extractor.name,
            "features_digest": self.extractor.digest,
            "features_details": dict(self.extractor.details),
            "samples": samples,
            "real_images": self.real.count,
            **{name: values for name, values in settings.items() if values},
        }
