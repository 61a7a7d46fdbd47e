"""Inception score (Salimans et al. 2016, arXiv:1606.03498), by the classifier of the features."""

from __future__ import annotations

import torch

from ditbench.metrics.metric import Comparison, Metric


def inception_score(comparison: Comparison) -> float:
    """Exp of the mean KL divergence of p(class | sample) from p(class): from 1 to K.

    Over all samples at once, not the mean over 10 splits: that is lower, and depends on the order
    of the samples. Published scores are those of Inception's 1,000 classes; another classifier has
    another scale. Computed in float64.
    """
    count = sum(comparison.sizes)
    total = comparison.features.new_zeros(())
    negative_entropy = total.clone()
    for logits in comparison.logits:
        p = logits.double().softmax(1)
        total = total + p.sum(0)
        negative_entropy += torch.xlogy(p, p).sum()
    marginal = total / count
    return float((negative_entropy / count - torch.xlogy(marginal, marginal).sum()).exp())


INCEPTION_SCORE = Metric(
    "inception_score", "Inception score", "higher", ".3f", inception_score,
    settings=lambda _samples, _real: {"splits": 1}, needs_logits=True,
)  # fmt: skip
