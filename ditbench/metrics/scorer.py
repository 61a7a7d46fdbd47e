"""Scores generated images: one pass of each extractor per batch, shared by its metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.metrics.choice import Versions, choose
from ditbench.metrics.features.extractors import Extractor
from ditbench.metrics.metric import Comparison, Metric, RealStatistics, metric_device


class Space(NamedTuple):
    """An extractor, on the scorer's device, and the statistics of real images in its features."""

    extractor: Extractor
    real: RealStatistics
    held_out: RealStatistics | None = None


class _Group(NamedTuple):
    """The metrics that compare the samples with the same real images, in the same features."""

    extractor: Extractor
    comparison: Comparison
    metrics: list[Metric]


class Scorer:
    """Scores samples against real images, by all metrics that fit the extractors.

    The first of `spaces` has the metrics with plain names, and held-out images if there are any.
    `device` is where samples come from. Metrics are computed there as well, but on the CPU for MPS,
    which has no float64. For `extra` and `begun` see `choose`.
    """

    def __init__(
        self,
        spaces: Sequence[Space],
        device: torch.device | str = "cpu",
        extra: Sequence[str] = (),
        begun: Versions | None = None,
    ) -> None:
        self._spaces = {space.extractor.name: space for space in spaces}
        self._device = torch.device(device)
        self._metric_device = metric_device(device)
        self.real_images = spaces[0].real.count
        main, *also = (type(extractor) for extractor in self.extractors)
        held_out = spaces[0].held_out is not None
        self._groups: list[_Group] = []
        rows = len(spaces[0].real.rows) > 0
        for choice in choose(main, also, extra, held_out=held_out, rows=rows, begun=begun):
            space = self._spaces[choice.features]
            real = space.held_out if choice.held_out else space.real
            if real is not None and choice.metrics:
                self._groups.append(_Group(space.extractor, Comparison(real), choice.metrics))
        self._count = 0

    def reset(self) -> None:
        """Forget the samples and keep the real statistics."""
        self._count = 0
        for group in self._groups:
            group.comparison.clear()

    @property
    def metrics(self) -> list[Metric]:
        """The metrics in the order of their columns."""
        return [metric for group in self._groups for metric in group.metrics]

    @property
    def extractors(self) -> list[Extractor]:
        """Every extractor, each once."""
        return [space.extractor for space in self._spaces.values()]

    @property
    def versions(self) -> dict[str, int]:
        """The version of each metric, by name, for `env.json`."""
        return {metric.name: metric.version for metric in self.metrics}

    def update(
        self, images: Tensor, labels: Tensor, passed: Callable[[int], None] | None = None
    ) -> None:
        """Add samples (N, C, H, W), quantised by `to_uint8`, and the requested classes (N,).

        `passed` receives the number of images after each pass of the extractor. Raises a ValueError
        for another number of labels, a DitbenchError for images of a shape that an extractor does
        not accept.
        """
        if labels.shape != images.shape[:1]:
            raise ValueError(f"{len(images)} images, but labels of shape {tuple(labels.shape)}")
        images, labels = images.to(self._device), labels.to(self._metric_device)
        for extractor, groups in groupby(self._groups, key=attrgetter("extractor")):
            features, logits = extractor(images, passed)
            features = features.to(self._metric_device).double()
            if logits is not None:
                logits = logits.to(self._metric_device)
            for group in groups:
                group.comparison.add(features, logits, labels)
        self._count += len(images)

    def compute(self) -> dict[str, float]:
        """The score of each metric, by name, for all samples since the last `reset`. Raises a
        DitbenchError for fewer than two samples or real images, or (exit code 1) a score that is
        not finite.
        """
        if min(self._count, self.real_images) < 2:  # the fewest that have a covariance
            what = f"cannot score {self._count} samples against {self.real_images} real images"
            raise DitbenchError(what, "at least 2 of each are needed")
        scores = {
            metric.name: metric.compute(group.comparison)
            for group in self._groups
            for metric in group.metrics
        }
        for name, score in scores.items():
            if not math.isfinite(score):
                hint = "the samples have no usable statistics"
                raise DitbenchError(f"{name} is {score}", hint, EXIT_FAILED)
        return scores

    def describe(self, samples: int) -> dict[str, Any]:
        """What the scores of this many samples depend on, for `result.json`."""
        main, *also = self._spaces.values()
        described: dict[str, Any] = {"samples": samples}
        if len(main.real.rows):  # of published statistics, the number is not known
            described["real_images"] = self.real_images
        if main.held_out is not None:
            described["held_out_images"] = main.held_out.count
        described |= self._describe(main, samples)
        if also:
            described["also"] = [self._describe(space, samples) for space in also]
        return described

    def _describe(self, space: Space, samples: int) -> dict[str, Any]:
        """What the scores in some features depend on."""
        settings = {
            metric.name: values
            for extractor, comparison, metrics in self._groups
            if extractor is space.extractor
            for metric in metrics
            if (values := metric.settings(samples, comparison.real))
        }
        return {
            "features": space.extractor.name,
            "features_digest": space.extractor.digest,
            "features_details": dict(space.extractor.details),
            **settings,
        }
