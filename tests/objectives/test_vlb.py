import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch.distributions import Normal, kl_divergence

from ditbench.objectives.ddpm import discretized_gaussian_log_likelihood, gaussian_kl

GREY_LEVELS = torch.arange(256) / 255 * 2 - 1


def test_kl_agrees_with_torch_distributions():
    generator = torch.Generator().manual_seed(0)
    mean_p, log_p, mean_q, log_q = torch.randn(4, 1000, dtype=torch.float64, generator=generator)
    expected = kl_divergence(Normal(mean_p, (log_p / 2).exp()), Normal(mean_q, (log_q / 2).exp()))
    torch.testing.assert_close(gaussian_kl(mean_p, log_p, mean_q, log_q), expected)


@pytest.mark.parametrize("mean", [-1.3, -1.0, -0.2, 0.0, 0.71, 1.0])
@pytest.mark.parametrize("std", [0.003, 0.01, 0.1, 1.0])
def test_likelihood_is_the_difference_of_two_cdfs(mean, std):
    levels = GREY_LEVELS.double().numpy()
    below = np.r_[-np.inf, (levels[1:] + levels[:-1]) / 2]
    above = np.r_[below[1:], np.inf]
    # scipy's own difference cancels above the mean, where the survival function does not.
    expected = np.where(
        below > mean,
        norm.sf(below, mean, std) - norm.sf(above, mean, std),
        norm.cdf(above, mean, std) - norm.cdf(below, mean, std),
    )
    actual = discretized_gaussian_log_likelihood(
        GREY_LEVELS, torch.full((256,), mean), torch.full((256,), 2 * np.log(std))
    )
    np.testing.assert_allclose(
        actual.numpy(), np.log(np.maximum(expected, 1e-12)), rtol=2e-4, atol=2e-4
    )


@pytest.mark.parametrize("mean", [-1.0, 0.123, 0.999])
@pytest.mark.parametrize("std", [1e-4, 0.01, 0.5, 30.0])
def test_the_256_probabilities_sum_to_one(mean, std):
    log_likelihood = discretized_gaussian_log_likelihood(
        GREY_LEVELS, torch.full((256,), mean), torch.full((256,), 2 * np.log(std))
    )
    assert log_likelihood.exp().double().sum().item() == pytest.approx(1, abs=1e-5)


def test_an_outlier_costs_a_finite_loss_and_gradient():
    log_var = torch.tensor([-20.0, -9.0, 5.0], requires_grad=True)
    x, mean = torch.tensor([-1.0, 0.5, 1.0]), torch.tensor([1e4, -1e4, 0.0])
    log_likelihood = discretized_gaussian_log_likelihood(x, mean, log_var)
    log_likelihood.sum().backward()
    assert log_likelihood.isfinite().all()
    assert log_var.grad.isfinite().all()
    assert log_likelihood[0].item() == pytest.approx(np.log(1e-12), rel=1e-5)
