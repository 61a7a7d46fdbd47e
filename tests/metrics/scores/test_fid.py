import dataclasses

import pytest
import torch
from scoring import feed, scipy_fid, scorer_of
from torch_fidelity.metric_fid import (
    KEY_METRIC_FID,
    fid_features_to_statistics,
    fid_statistics_to_metric,
)
from toy_extractor import random_images

from ditbench.metrics.metric import Comparison
from ditbench.metrics.real import compute_statistics
from ditbench.metrics.scores.fid import FID


@pytest.mark.parametrize("high", [256, 200])
def test_fid_is_the_frechet_distance(toy, high):
    real, fake = random_images(300, 1), random_images(200, 2, high)
    fid = feed(scorer_of(toy, real), fake).compute()["fid"]
    x, y = toy(real).features, toy(fake).features
    assert fid == pytest.approx(scipy_fid(x.numpy(), y.numpy()), rel=1e-6)
    peer = fid_statistics_to_metric(
        fid_features_to_statistics(x.double()), fid_features_to_statistics(y.double()), False
    )
    assert fid == pytest.approx(peer[KEY_METRIC_FID], rel=1e-6)


def test_fid_is_computed_in_float64(toy):
    """Features far from 0: float32 sums would lose the covariance."""
    real, fake = (toy(random_images(count, count)).features.double() + 1e5 for count in (300, 200))
    statistics = dataclasses.replace(
        compute_statistics(random_images(300, 1), toy),
        features_sum=real.sum(0),
        outer_sum=real.T @ real,
    )
    comparison = Comparison(statistics)
    comparison.add(fake, None, torch.zeros(200))
    assert FID.compute(comparison) == pytest.approx(scipy_fid(real.numpy(), fake.numpy()), rel=1e-3)
