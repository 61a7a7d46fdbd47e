import numpy as np
import pytest
import torch
from draws import loss_of, normal, seeded
from scipy.integrate import solve_ivp

from ditbench.objectives.flow import Flow

MEAN, STD = 0.4, 0.25


def gaussian_velocity(x, t):
    """E[eps - x_0 | x_t = x] when x_0 is normal: the covariance with x_t over its variance."""
    variance = (1 - t) ** 2 * STD**2 + t**2
    return (t - (1 - t) * STD**2) / variance * (x - (1 - t) * MEAN) - MEAN


def gaussian_model(x, t, y):
    return gaussian_velocity(x, (t / 1000).view(-1, 1, 1, 1))


def by_scipy(noise):
    """The same field, integrated from t = 1 to t = 0 to a tolerance of 1e-10."""
    solution = solve_ivp(
        lambda t, x: gaussian_velocity(x, t),
        (1, 0),
        noise.double().flatten().numpy(),
        rtol=1e-10,
        atol=1e-10,
    )
    return torch.from_numpy(solution.y[:, -1]).view_as(noise)


@pytest.mark.parametrize(("sampler", "order"), [("euler", 1), ("heun", 2)])
def test_samplers_converge_to_scipys_solution_at_their_order(sampler, order):
    noise = normal(16, 1, 2, 2)
    exact = by_scipy(noise)
    y = torch.zeros(16, dtype=torch.long)
    errors = []
    for steps in (16, 32, 64):
        samples = Flow().sample(gaussian_model, noise, y, steps, sampler=sampler, clip=False)
        errors.append((samples.double() - exact).square().mean().sqrt().item())
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert orders == pytest.approx([order, order], abs=0.3)
    assert errors[-1] < (0.02 if order == 1 else 0.002)


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_the_exact_field_recovers_the_data(sampler):
    """20,000 samples of a normal: mean within 5 errors of it, deviation within 3%."""
    noise = normal(20_000, 1, 1, 1)
    y = torch.zeros(20_000, dtype=torch.long)
    samples = Flow().sample(gaussian_model, noise, y, 100, sampler=sampler, clip=False)
    assert samples.std().item() == pytest.approx(STD, rel=0.03)
    assert samples.mean().item() == pytest.approx(MEAN, abs=5 * STD / 20_000**0.5 + 0.003)


@pytest.mark.parametrize("sampler", ["euler", "heun"])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_straight_velocity_is_followed_exactly(sampler, steps):
    x0, noise = normal(2, 3, 4, 4, seed=1).clamp(-1, 1), normal(2, 3, 4, 4)
    model = lambda x, t, y: noise - x0  # noqa: E731
    samples = Flow().sample(model, noise, torch.tensor([0, 1]), steps, sampler=sampler)
    torch.testing.assert_close(samples, x0)


def test_loss_of_a_perfect_velocity_is_zero_and_of_another_its_mse():
    x, y = normal(4, 2, 4, 4, seed=1).clamp(-1, 1), torch.arange(4)
    t, noise = Flow().draw(x, seeded())

    def perfect(x_t, times, labels):
        t4 = t.view(-1, 1, 1, 1)
        torch.testing.assert_close(x_t, (1 - t4) * x + t4 * noise)
        torch.testing.assert_close(times, 1000 * t)
        assert times.dtype == torch.float32
        assert torch.equal(labels, y)
        return noise - x

    assert loss_of(Flow(), perfect, x, y, seeded()).item() == 0
    off = loss_of(Flow(), lambda *a: perfect(*a) + 0.5, x, y, seeded())
    assert off.item() == pytest.approx(0.25, rel=1e-5)


def test_times_are_logit_normal_in_model_time(toy_model):
    """100,000 draws: the logits' mean and deviation within five standard errors of 0 and 1."""
    n = 100_000
    model = toy_model(1)
    loss_of(Flow(), model, torch.zeros(n, 1, 1, 1), torch.zeros(n, dtype=torch.long), seeded())
    t = model.calls[0][1].double() / 1000
    assert ((t > 0) & (t < 1)).all()
    logits = torch.logit(t)
    assert logits.mean().item() == pytest.approx(0, abs=5 / n**0.5)
    assert logits.std().item() == pytest.approx(1, abs=5 / (2 * n) ** 0.5)
    assert logits.pow(4).mean().item() == pytest.approx(3, abs=5 * (96 / n) ** 0.5)


@pytest.mark.parametrize(
    ("sampler", "times"),
    [("euler", [1000, 750, 500, 250]), ("heun", [1000, 750, 750, 500, 500, 250, 250, 0])],
)
def test_the_grid_is_uniform_in_model_time(toy_model, sampler, times):
    model = toy_model(2)
    Flow().sample(model, normal(2, 2, 4, 4), torch.tensor([0, 1]), 4, sampler=sampler)
    assert [call[1].tolist() for call in model.calls] == [[t, t] for t in times]
    assert all(call[1].dtype == torch.float32 for call in model.calls)


def test_clip_holds_pixels_to_their_range_and_only_at_the_end(toy_model):
    noise, y = 5 * normal(2, 2, 4, 4), torch.tensor([0, 1])
    free = Flow().sample(toy_model(2), noise, y, 3, clip=False)
    assert free.abs().max() > 1
    assert torch.equal(Flow().sample(toy_model(2), noise, y, 3), free.clamp(-1, 1))
