"""What a metric is. Each has a function and a line in the registry of `ditbench.metrics`.

Legend: N batch, F features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

FACTS = ["name", "title", "direction", "unit", "format", "version", "depends_on_samples", "scale"]
MAX_SUBSET = 10_000
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class RealStatistics:
    """What the metrics need of the real images, on the CPU; `ditbench.metrics.real` computes it.

    The sums are over all images. The rows are of at most 50,000 images, drawn with a fixed seed if
    there are more. Published statistics have no rows, and `count` is then not that of the images.
    """

    count: int  # of images
    features_sum: Tensor  # (F,) float64
    outer_sum: Tensor  # (F, F) float64, the sum of the features' outer products, not centred
    rows: Tensor  # (M, F) float32, features of M images; the first 10,000 are a random choice
    mean_kernel: Tensor  # () float64, KID's kernel: its mean over all pairs of different rows
    nearest: Tensor  # (M,) float64, from each row to the nearest other one
    radii: Tensor  # (min(M, 10,000),) float64, from each of these to its fifth nearest of these

    @property
    def subset(self) -> Tensor:
        """The first 10,000 rows, or all, for metrics that find nearest neighbours: (m, F)."""
        return self.rows[:MAX_SUBSET]


class Comparison:
    """Samples that are compared with real images: what the metrics of one evaluation share."""

    def __init__(self, real: RealStatistics) -> None:
        self.real = real
        self.clear()

    def clear(self) -> None:
        """Forget the samples."""
        self.sizes: list[int] = []  # of the batches
        self.logits: list[Tensor] = []  # (N, K) float32 per batch; none without a classifier
        self.labels: list[Tensor] = []  # (N,) per batch: the requested classes
        self._batches: list[Tensor] = []
        self._results: dict[Callable[[Comparison], Any], Any] = {}

    def add(self, features: Tensor, logits: Tensor | None, labels: Tensor) -> None:
        """Add a batch of samples: features (N, F) float64 on a device that has float64."""
        self.sizes.append(len(features))
        self.labels.append(labels)
        if logits is not None:
            self.logits.append(logits)
        self._batches.append(features)
        self._results.clear()

    @property
    def features(self) -> Tensor:
        """The features of all samples so far, (N, F) float64."""
        self._batches = [torch.cat(self._batches)] if len(self._batches) > 1 else self._batches
        return self._batches[0]

    def once(self, function: Callable[[Comparison], T]) -> T:
        """`function(self)`, computed once for all metrics that need it."""
        if function not in self._results:
            self._results[function] = function(self)
        return self._results[function]


@dataclass(frozen=True)
class Metric:
    """A score of generated images."""

    name: str  # the key of the score in `eval.csv` and `result.json`
    title: str  # the header of its column in tables
    direction: Literal["lower", "higher"]  # which values are better
    format: str  # how tables print the value: Python's format specification
    compute: Callable[[Comparison], float]  # the score of all samples
    _: KW_ONLY
    # What else the score of this many samples depends on; recorded in `result.json`.
    settings: Callable[[int, RealStatistics], dict[str, int]] = lambda _samples, _real: {}
    unit: str = ""  # "" if the value has none
    version: int = 1  # incremented when the same images get another value
    # Whether the value depends on the number of samples: its column is then `fid_1k`, for example.
    depends_on_samples: bool = True
    # How runs are compared: by ratios (always positive, no upper bound), or by differences.
    scale: Literal["log", "linear"] = "linear"
    needs_logits: bool = False  # whether it needs a classifier, of whatever classes
    needs_classes: bool = False  # whether it needs a classifier of the data set's classes
    needs_rows: bool = False  # whether it needs single real images, not only their mean and spread

    def describe(self) -> dict[str, Any]:
        """The facts that tables need, for `result.json`."""
        return {fact: getattr(self, fact) for fact in FACTS}


class GivenFeatures(nn.Identity):
    """Stands in for the network of a metric of torchmetrics, which receives features."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


def metric_device(device: torch.device | str) -> torch.device:
    """Where metrics compute for samples on a device: there, but MPS has no float64."""
    device = torch.device(device)
    return torch.device("cpu") if device.type == "mps" else device
