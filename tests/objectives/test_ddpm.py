import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from draws import loss_of, normal, pixels, seeded
from scipy.stats import norm

from ditbench.objectives.ddpm import DDPM


def images(n=4, channels=2, size=4):
    """Images and their labels."""
    return pixels(n, channels, size, size), torch.arange(n) % 3


def test_diffusing_agrees_with_diffusers():
    x, _ = images(8)
    t = torch.tensor([0, 1, 10, 100, 400, 700, 998, 999])
    noise = normal(*x.shape)
    expected = DDPMScheduler(beta_schedule="linear").add_noise(x, noise, t)
    torch.testing.assert_close(
        DDPM().schedule.at(t).diffuse(x, noise), expected, rtol=1e-4, atol=1e-5
    )


def bound_by_scipy(x, x_t, t, eps, v):
    """The bound in bits for each element of one image, by float64 textbook formulas."""
    betas = np.linspace(1e-4, 0.02, 1000)
    abar = np.cumprod(1 - betas)
    before = np.r_[1.0, abar[:-1]]
    tilde = betas * (1 - before) / (1 - abar)
    low = np.log(tilde[max(t, 1)])
    std = np.exp((low + (v + 1) / 2 * (np.log(betas[t]) - low)) / 2)

    def mean(x0):
        a, b = before[t] ** 0.5 * betas[t], (1 - betas[t]) ** 0.5 * (1 - before[t])
        return (a * x0 + b * x_t) / (1 - abar[t])

    model = mean((x_t - (1 - abar[t]) ** 0.5 * eps) / abar[t] ** 0.5)
    if t == 0:
        above = np.where(x > 0.999, np.inf, x + 1 / 255)
        below = np.where(x < -0.999, -np.inf, x - 1 / 255)
        return -np.log2(norm.cdf(above, model, std) - norm.cdf(below, model, std))
    true_std = tilde[t] ** 0.5
    kl = np.log(std / true_std) + (true_std**2 + (mean(x) - model) ** 2) / (2 * std**2) - 0.5
    return kl / np.log(2)


@pytest.mark.parametrize("times", [None, [0, 0, 1, 999]])
def test_loss_is_mse_plus_the_bound(toy_model, times):
    x, y = images()
    objective, model = DDPM(), toy_model(4)
    t, noise = objective.draw(x, seeded())
    if times is not None:  # t = 0 is drawn once in a thousand times
        t = torch.tensor(times)
    # Near the truth, as a bound of 8-bit likelihoods has to be to stay off its floor.
    near = lambda x_t, t, y: torch.cat([noise, noise * 0], 1) + 0.3 * model(x_t, t, y)  # noqa: E731
    loss = objective.loss_at(near, x, y, t, noise)

    x_t = objective.schedule.at(t).diffuse(x, noise)
    eps, v = near(x_t, t, y).double().numpy().reshape(4, 2, 2, 4, 4).swapaxes(0, 1)
    bounds = [
        bound_by_scipy(x[i].double().numpy(), x_t[i].double().numpy(), int(t[i]), eps[i], v[i])
        for i in range(4)
    ]
    expected = ((eps - noise.numpy()) ** 2).mean() + np.mean(bounds)
    assert loss.item() == pytest.approx(expected, rel=1e-3)


def test_times_are_uniform_over_the_chain_and_are_the_models_time(toy_model):
    model = toy_model(2)
    x = torch.zeros(20_000, 1, 1, 1)
    loss_of(DDPM(), model, x, torch.zeros(20_000, dtype=torch.long), seeded())
    t = model.calls[0][1]
    assert t.dtype == torch.int64
    counts = torch.bincount(t, minlength=1000)  # 20 each, expected
    assert len(counts) == 1000
    chi_squared = ((counts - 20) ** 2 / 20).sum().item()
    assert abs(chi_squared - 999) < 5 * (2 * 999) ** 0.5


def test_the_bound_has_no_gradient_to_eps_and_the_mse_none_to_the_variance():
    x, y = images()
    t, noise = DDPM().draw(x, seeded())
    out = normal(4, 4, 4, 4, seed=3).requires_grad_()
    loss_of(DDPM(), lambda x, t, y: out, x, y, seeded()).backward()
    mse_gradient = 2 * (out[:, :2].detach() - noise) / noise.numel()
    torch.testing.assert_close(out.grad[:, :2], mse_gradient)

    # The gradient of the bound to the variance is the same whatever MSE there is beside it.
    objective = DDPM()
    v = out[:, 2:].detach().requires_grad_()
    objective.bound(
        x, objective.schedule.at(t).diffuse(x, noise), t, out[:, :2].detach(), v
    ).mean().backward()
    assert v.grad.abs().min() > 0
    torch.testing.assert_close(out.grad[:, 2:], v.grad)


def test_gradients_are_finite_at_the_first_and_last_times():
    x, y = images()
    out = (normal(4, 4, 4, 4, seed=3) * 20).requires_grad_()
    t = torch.tensor([0, 0, 999, 999])
    loss = DDPM().loss_at(lambda x, t, y: out, x, y, t, normal(*x.shape))
    loss.backward()
    assert loss.isfinite()
    assert out.grad.isfinite().all()


def test_fixed_variance_is_the_mse_alone(toy_model):
    x, y = images()
    objective, model = DDPM(learn_sigma=False), toy_model(2)
    t, noise = objective.draw(x, seeded())
    eps = model(objective.schedule.at(t).diffuse(x, noise), t, y)
    expected = (eps - noise).square().mean()
    torch.testing.assert_close(loss_of(objective, model, x, y, seeded()), expected)


def test_the_weight_of_the_bound_grows_with_the_chain():
    """Lambda is 0.001 of a sum over T terms: half the terms, half the weight."""
    x, y = images()
    half = DDPM(timesteps=500)
    out = normal(4, 4, 4, 4, seed=3)
    loss = loss_of(half, lambda x, t, y: out, x, y, seeded())
    t, noise = half.draw(x, seeded())
    bound = half.bound(x, half.schedule.at(t).diffuse(x, noise), t, out[:, :2], out[:, 2:]).mean()
    torch.testing.assert_close(loss, (out[:, :2] - noise).square().mean() + bound / 2)
