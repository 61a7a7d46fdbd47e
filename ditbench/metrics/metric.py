"""The protocol of a metric: one class per file, one line in the registry of `ditbench.metrics`.

Legend: N batch, F features, K classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import Tensor, nn

if TYPE_CHECKING:
    import torch

    from ditbench.metrics.real import RealStatistics

FACTS = ("name", "title", "direction", "unit", "format", "version", "depends_on_samples")


class Metric(ABC):
    """A score of generated images, accumulated over batches. Each evaluation makes a new one.

    Args:
        real: the statistics of the real images to compare with.
        device: where the metric computes; it has float64.

    Attributes:
        name: the key of the score in `eval.csv` and `result.json`.
        title: the header of its column in tables.
        direction: which values are better.
        unit: the unit of the value, or "" if it has none.
        format: how tables print the value, a format specification of Python.
        version: raised with every change of the value for the same images.
        depends_on_samples: whether the value depends on the number of samples. The column in
            `eval.csv` then carries that number: `fid_1k`.
        needs_classes: whether the metric needs the logits of a classifier.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    direction: ClassVar[Literal["lower", "higher"]]
    unit: ClassVar[str] = ""
    format: ClassVar[str]
    version: ClassVar[int] = 1
    depends_on_samples: ClassVar[bool] = True
    needs_classes: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, real: RealStatistics, device: torch.device) -> None:
        """Prepare for the first batch."""

    @abstractmethod
    def update(self, features: Tensor, logits: Tensor | None, labels: Tensor) -> None:
        """Add a batch of samples.

        Args:
            features: (N, F) float64.
            logits: (N, K) float32, or None if the extractor is not a classifier.
            labels: (N,) integer, the requested classes.
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
