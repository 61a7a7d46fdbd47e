"""Label accuracy: how often a classifier sees the requested class in a sample."""

from __future__ import annotations

import torch
from torch import Tensor

from ditbench.metrics.metric import Comparison, Metric


class LabelAccuracy(Metric):
    """The share of samples, in [0, 1], that the extractor classifies as the requested class."""

    name = "label_accuracy"
    title = "Label acc."
    direction = "higher"
    format = ".3f"
    depends_on_samples = False  # a share of more samples is more precise, not lower or higher
    needs_classes = True

    def __init__(self, comparison: Comparison) -> None:
        super().__init__(comparison)
        self._right = torch.tensor(0, device=comparison.device)
        self._count = 0

    def update(self, features: Tensor, logits: Tensor | None, labels: Tensor) -> None:  # noqa: ARG002
        """Add a batch; only logits and labels count."""
        assert logits is not None
        self._right += (logits.argmax(1) == labels).sum()
        self._count += len(labels)

    def compute(self) -> float:
        """The share, rounded to float32."""
        return float(self._right / self._count)
