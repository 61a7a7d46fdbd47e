"""Scores generated images: one pass of each extractor per batch, shared by its metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.metrics.choice import Versions, choose

if TYPE_CHECKING:
    from ditbench.metrics.extractors import Extractor
    from ditbench.metrics.metric import Metric, RealStatistics


class Space(NamedTuple):
    """An extractor, on the scorer's device, and the statistics of real images in its features."""

    extractor: Extractor
    real: RealStatistics
    held_out: RealStatistics | None = None


class Scorer:
    """Scores samples against real images, by all metrics that fit the extractor.

    Args:
        extractor: on `device`.
        real: `real_statistics` of the same extractor.
        device: where samples come from. Metrics are computed there as well, except that MPS has
            no float64: its metrics are computed on the CPU.
        held_out: the statistics of held-out images. FID and KID compare with them, too.
        also: further features in which the same samples are scored, without held-out images.
        extra, begun: see `choose`.
    """

    def __init__(
        self,
        extractor: Extractor,
        real: RealStatistics,
        device: torch.device | str = "cpu",
        *,
        held_out: RealStatistics | None = None,
        also: Sequence[Space] = (),
        extra: Sequence[str] = (),
        begun: Versions | None = None,
    ) -> None:
        self.extractor = extractor
        self.real = real
        self.device = torch.device(device)
        self._metric_device = torch.device("cpu") if self.device.type == "mps" else self.device
        self._spaces = [Space(extractor, real, held_out), *also]
        self._choices = choose(
            type(extractor),
            [type(space.extractor) for space in also],
            extra,
            held_out=held_out is not None,
            begun=begun,
        )
        self.reset()

    def reset(self) -> None:
        """Forget the samples and keep the real statistics."""
        self._count = 0
        self._metrics = [
            [kind(real, self._metric_device) for kind, real in self._kinds_of(space)]
            for space in self._spaces
        ]

    def _kinds_of(self, space: Space) -> Iterator[tuple[type[Metric], RealStatistics]]:
        """The metrics in some features, and the real images that each compares with."""
        for features, kind, held_out in self._choices:
            if features == space.extractor.name:
                real = space.held_out if held_out else space.real
                assert real is not None
                yield kind, real

    @property
    def metrics(self) -> list[Metric]:
        """The metrics in the order of their columns."""
        return [metric for metrics in self._metrics for metric in metrics]

    @property
    def versions(self) -> dict[str, int]:
        """The version of each metric, by name, for `env.json`."""
        return {choice.kind.name: choice.kind.version for choice in self._choices}

    def update(self, images: Tensor, labels: Tensor) -> None:
        """Add samples (N, C, H, W), quantised by `to_uint8`, and the requested classes (N,).

        Raises:
            ValueError: the number of labels is not the number of images.
            DitbenchError: an extractor does not accept images of this shape.
        """
        if labels.shape != images.shape[:1]:
            raise ValueError(f"{len(images)} images, but labels of shape {tuple(labels.shape)}")
        images, labels = images.to(self.device), labels.to(self._metric_device)
        for space, metrics in zip(self._spaces, self._metrics, strict=True):
            features, logits = space.extractor(images)
            features = features.to(self._metric_device).double()
            if logits is not None:
                logits = logits.to(self._metric_device)
            for metric in metrics:
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
                "at least 2 of each are needed: --set eval.samples=2000",
            )
        scores = {metric.name: metric.compute() for metric in self.metrics}
        for name, score in scores.items():
            if not math.isfinite(score):
                hint = "the samples have no usable statistics"
                raise DitbenchError(f"{name} is {score}", hint, EXIT_FAILED)
        return scores

    def describe(self, samples: int) -> dict[str, Any]:
        """What the scores of this many samples depend on, for `result.json`."""
        main, *also = self._spaces
        described: dict[str, Any] = {"samples": samples, "real_images": self.real.count}
        if main.held_out is not None:
            described["held_out_images"] = main.held_out.count
        described |= self._describe(main, samples)
        if also:
            described["also"] = [self._describe(space, samples) for space in also]
        return described

    def _describe(self, space: Space, samples: int) -> dict[str, Any]:
        """What the scores in some features depend on."""
        settings = {
            kind.name: values
            for kind, real in self._kinds_of(space)
            if (values := kind.settings(samples, real))
        }
        return {
            "features": space.extractor.name,
            "features_digest": space.extractor.digest,
            "features_details": dict(space.extractor.details),
            **settings,
        }
