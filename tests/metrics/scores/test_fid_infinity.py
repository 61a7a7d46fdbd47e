import math

import pytest
import torch
from scoring import scipy_fid

from ditbench.errors import DitbenchError
from ditbench.metrics.metric import Comparison, RealStatistics
from ditbench.metrics.scores.fid_infinity import FID_INFINITY, _distance, _gaussian

F = 32


def gaussian(count, scale, shift, seed):
    generator = torch.Generator().manual_seed(seed)
    spread = torch.linspace(0, 3, F, dtype=torch.float64).neg().exp().sqrt()
    return torch.randn(count, F, generator=generator, dtype=torch.float64) * scale * spread + shift


def of_sums(count, features_sum, outer_sum):
    none = torch.zeros(0)
    return RealStatistics(count, features_sum, outer_sum, none, none, none, none)


def exact(count=10**6):
    """The statistics of infinitely many real images: mean 0, the covariance of `gaussian`."""
    covariance = torch.linspace(0, 3, F, dtype=torch.float64).neg().exp().diag()
    return of_sums(count, torch.zeros(F, dtype=torch.float64), covariance * (count - 1))


def compute(features, real):
    comparison = Comparison(real)
    comparison.add(features, None, torch.zeros(len(features)))
    return FID_INFINITY.compute(comparison)


def test_the_distance_is_the_frechet_distance():
    x, y = gaussian(300, 1, 0, 1), gaussian(200, 1.1, 0.1, 2)
    mean, root = _gaussian(of_sums(300, x.sum(0), x.T @ x), y)
    assert _distance(y, mean, root) == pytest.approx(scipy_fid(x.numpy(), y.numpy()), rel=1e-9)


@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (1.1, 0.05)])
def test_it_finds_the_distance_of_infinitely_many_samples(scale, shift):
    spread = torch.linspace(0, 3, F, dtype=torch.float64).neg().exp()
    true = F * shift**2 + float(((scale - 1) ** 2 * spread).sum())
    mean, root = _gaussian(exact(), spread)
    plain, found = [], []
    for seed in range(20):
        samples = gaussian(400, scale, shift, seed)
        plain.append(_distance(samples, mean, root) - true)
        found.append(compute(samples, exact()) - true)
    plain, found = torch.tensor(plain), torch.tensor(found)
    assert plain.mean() > 0.1
    assert found.mean().abs() < 0.1 * plain.mean()
    assert found.std() < 2 * plain.std() + 0.02


def test_fewer_samples_than_features_have_a_value():
    assert math.isfinite(compute(gaussian(4, 1, 0, 1), exact()))


def test_halves_need_two_samples():
    with pytest.raises(DitbenchError, match="cannot extrapolate FID from 3 samples"):
        compute(gaussian(3, 1, 0, 1), exact())


def test_the_splits_are_the_same_each_time():
    samples = gaussian(100, 1, 0, 1)
    assert compute(samples, exact()) == compute(samples, exact())
