"""Inception score (Salimans et al. 2016, arXiv:1606.03498), by the classifier of the features."""

from __future__ import annotations

import torch
from torch import Tensor

from ditbench.metrics.metric import Comparison, Metric, RealStatistics


class InceptionScore(Metric):
    """exp of the mean KL divergence of p(class | sample) from p(class): from 1 to K.

    Over all samples at once, not the mean over 10 splits: that is lower, and depends on the order
    of the samples. Published scores are those of Inception's 1,000 classes; another classifier has
    another scale. Computed in float64.
    """

    name = "inception_score"
    title = "Inception score"
    direction = "higher"
    format = ".3f"
    needs_logits = True

    def __init__(self, comparison: Comparison) -> None:
        super().__init__(comparison)
        self._count = 0
        self._marginal = torch.tensor(0.0, dtype=torch.float64, device=comparison.device)
        self._negative_entropy = torch.zeros_like(self._marginal)

    def update(self, features: Tensor, logits: Tensor | None, labels: Tensor) -> None:  # noqa: ARG002
        """Add a batch; only the logits count."""
        assert logits is not None
        p = logits.double().softmax(1)
        self._count += len(p)
        self._marginal = self._marginal + p.sum(0)
        self._negative_entropy += torch.xlogy(p, p).sum()

    def compute(self) -> float:
        """The score: 1 if all samples get the same probabilities."""
        marginal = self._marginal / self._count
        mean = self._negative_entropy / self._count - torch.xlogy(marginal, marginal).sum()
        return float(mean.exp())

    @classmethod
    def settings(cls, samples: int, real: RealStatistics) -> dict[str, int]:  # noqa: ARG003
        """The number of splits that the score is a mean over."""
        return {"splits": 1}
