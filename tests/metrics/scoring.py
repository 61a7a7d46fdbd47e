"""Scoring in tests, and the formulas that the scores are held to, in float64."""

import numpy as np
import torch
from scipy.linalg import sqrtm

from ditbench.metrics.metric import Comparison
from ditbench.metrics.real import compute_statistics
from ditbench.metrics.scorer import Scorer, Space


def scipy_fid(x, y):
    """The Fréchet distance of two Gaussians, by the textbook formula."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = sqrtm(cov_x @ cov_y).real
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cov_x + cov_y - 2 * root))


def unbiased_mmd(x, y):
    """MMD² with k(a, b) = (a·b / F + 1)³, written as the sums of Gretton et al. 2012, eq. 3."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    kernel = [(a @ b.T / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    within = [k[~np.eye(len(k), dtype=bool)].mean() for k in kernel[:2]]
    return float(sum(within) - 2 * kernel[2].mean())


def comparison_of(toy, real):
    return Comparison(compute_statistics(real, toy))


def score(metric, toy, real, fake):
    """The score of one metric, of samples in three batches."""
    comparison = comparison_of(toy, real)
    for images in fake.tensor_split(3):
        features, logits = toy(images)
        comparison.add(features.double(), logits, torch.zeros(len(images)))
    return metric.compute(comparison)


def scorer_of(toy, real):
    return Scorer([Space(toy, compute_statistics(real, toy, batch_size=70))])


def feed(scorer, images, labels=None):
    labels = torch.zeros(len(images), dtype=torch.long) if labels is None else labels
    for batch, wanted in zip(images.split(64), labels.split(64), strict=True):
        scorer.update(batch, wanted)
    return scorer
