"""The protocol of a metric: one class per file, one line in the registry of `ditbench.metrics`.

Legend: N batch, F features, K classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

FACTS = (
    *("name", "title", "direction", "unit", "format", "version", "depends_on_samples", "scale"),
)


@dataclass(frozen=True, eq=False)
class RealStatistics:
    """What the metrics need of the real images, on the CPU.

    FID uses the sums, over all images. KID uses the rows: of a data set with more than 10,000
    images, those of 10,000 drawn with a fixed seed.
    """

    count: int  # of images
    features_sum: Tensor  # (F,) float64
    outer_sum: Tensor  # (F, F) float64, the sum of the features' outer products, not centred
    rows: Tensor  # (M, F) float32, the features of M = min(count, 10,000) images


class Metric(ABC):
    """A score of generated images, accumulated over batches. Each evaluation makes a new one.

    Args:
        real: the statistics of the real images to compare with.
        device: where the metric computes; it has float64.
    """

    name: ClassVar[str]  # the key of the score in `eval.csv` and `result.json`
    title: ClassVar[str]  # the header of its column in tables
    direction: ClassVar[Literal["lower", "higher"]]  # which values are better
    unit: ClassVar[str] = ""  # "" if the value has none
    format: ClassVar[str]  # how tables print the value: Python's format specification
    version: ClassVar[int] = 1  # incremented when the same images get another value
    # Whether the value depends on the number of samples: its column is then `fid_1k`, for example.
    depends_on_samples: ClassVar[bool] = True
    # How runs are compared: by ratios (always positive, no upper bound), or by differences.
    scale: ClassVar[Literal["log", "linear"]] = "linear"
    needs_logits: ClassVar[bool] = False  # whether it needs a classifier, of whatever classes
    needs_classes: ClassVar[bool] = False  # whether it needs a classifier of the data set's classes

    @abstractmethod
    def __init__(self, real: RealStatistics, device: torch.device) -> None:
        """Prepare for the first batch."""

    @abstractmethod
    def update(self, features: Tensor, logits: Tensor | None, labels: Tensor) -> None:
        """Add a batch of samples: features (N, F) float64, and the requested classes (N,).

        Logits are (N, K) float32, or None if the extractor is not a classifier.
        """

    @abstractmethod
    def compute(self) -> float:
        """The score of all samples so far."""

    @classmethod
    def settings(cls, samples: int, real: RealStatistics) -> dict[str, int]:  # noqa: ARG003
        """What else the score of this many samples depends on; recorded in `result.json`."""
        return {}

    @classmethod
    def describe(cls) -> dict[str, Any]:
        """The facts that tables need, for `result.json`."""
        return {fact: getattr(cls, fact) for fact in FACTS}


class GivenFeatures(nn.Identity):
    """Takes the place of the network inside a metric of torchmetrics: returns its input.

    The extractor then runs once per batch for all metrics.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features
