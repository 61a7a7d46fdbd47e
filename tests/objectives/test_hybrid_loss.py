"""DDPM's loss by its kernel against torch's operations in float64."""

import pytest
import torch
from draws import normal, pixels

from ditbench.objectives import ddpm
from ditbench.objectives.ddpm import DDPM

ON_GPU = torch.cuda.is_available()  # elsewhere tests/conftest.py has kernels interpreted
DEVICE = "cuda" if ON_GPU else "cpu"
# Without erfc, tails of the likelihood are differences of numbers near 1.
TOLERANCE = 1e-5 if ON_GPU else 1e-3


def loss_and_gradient(objective, x, t, noise, out):
    out = out.detach().clone().requires_grad_()
    loss = objective.loss_at(lambda x_t, t, y: out, x, t, t, noise)
    (3 * loss).backward()
    return loss.detach(), out.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("timesteps", [1000, 10, 1])
@pytest.mark.parametrize("shape", [(6, 3, 4, 6), (2, 1, 40, 40)])
def test_loss_and_gradient_are_those_of_torch_in_float64(monkeypatch, shape, timesteps, dtype):
    objective = DDPM(timesteps=timesteps)
    x, noise = pixels(*shape).to(DEVICE), normal(*shape, seed=1).to(DEVICE)
    error, v = (normal(*shape, seed=seed).to(DEVICE) for seed in (2, 3))
    t = torch.linspace(0, timesteps - 1, len(x), device=DEVICE).long()
    # Near the truth, as a bound of 8-bit likelihoods has to be to stay off its floor.
    out = torch.cat([noise + 0.1 * error, 0.5 * v], 1).to(dtype)
    monkeypatch.setattr(ddpm, "kernel_type", lambda x: dtype)
    loss, grad = loss_and_gradient(objective, x, t, noise, out)

    schedule = objective.schedule
    monkeypatch.setattr(ddpm, "kernel_type", lambda x: None)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # to whatever it casts
    monkeypatch.setattr(schedule, "_tables_on", {})
    exact, exact_grad = loss_and_gradient(objective, x.double(), t, noise.double(), out.double())
    assert loss.dtype == torch.float32
    assert grad.dtype == dtype
    torch.testing.assert_close(loss.double(), exact, rtol=TOLERANCE, atol=0)
    # Rounded twice: as it is made, and multiplied.
    tolerance = TOLERANCE if dtype == torch.float32 else 0.01
    for ours, theirs in zip(grad.double().chunk(2, 1), exact_grad.chunk(2, 1), strict=True):
        torch.testing.assert_close(
            ours, theirs, rtol=tolerance, atol=tolerance * theirs.abs().mean()
        )


def test_an_outlier_s_probability_is_held_and_its_gradient_nothing(monkeypatch):
    x, noise = pixels(1, 1, 2, 2).to(DEVICE), normal(1, 1, 2, 2, seed=1).to(DEVICE)
    t = torch.zeros(1, dtype=torch.long, device=DEVICE)
    monkeypatch.setattr(ddpm, "kernel_type", lambda x: torch.float32)
    out = torch.full((1, 2, 2, 2), 500.0, device=DEVICE)
    out[:, 1] = 0
    loss, grad = loss_and_gradient(DDPM(), x, t, noise, out)
    assert loss.isfinite()
    assert grad[:, 0].abs().min() > 0
    assert grad[:, 1].tolist() == [[[0, 0], [0, 0]]]
