"""Label accuracy: how often a classifier sees the requested class in a sample."""

from __future__ import annotations

from ditbench.metrics.metric import Comparison, Metric


def label_accuracy(comparison: Comparison) -> float:
    """The share of samples, 0 to 1 in float32, that are classified as the requested class."""
    batches = zip(comparison.logits, comparison.labels, strict=True)
    right = sum((logits.argmax(1) == labels).sum() for logits, labels in batches)
    return float(right / sum(comparison.sizes))


LABEL_ACCURACY = Metric(
    "label_accuracy", "Label acc.", "higher", ".3f", label_accuracy, needs_classes=True,
    depends_on_samples=False,  # a share of more samples is more precise, not lower or higher
)  # fmt: skip
