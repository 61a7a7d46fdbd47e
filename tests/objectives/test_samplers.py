import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from draws import normal, seeded

from ditbench.errors import DitbenchError
from ditbench.objectives.ddpm import DDPM


class Oracle:
    """The eps that minimises the loss when the data are normal with mean 0 and known deviation."""

    def __init__(self, std, channels):
        self.variance, self.channels = std**2, channels
        self.abar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000).double(), 0)

    def __call__(self, x, t, y):
        abar = self.abar[t].view(-1, 1, 1, 1)
        eps = x * (1 - abar).sqrt() / (abar * self.variance + 1 - abar)
        out = torch.zeros(x.shape[0], self.channels, *x.shape[2:])
        out[:, : x.shape[1]] = eps
        return out


@pytest.mark.parametrize("variance", ["learned_range", "fixed_small", "fixed_large"])
@pytest.mark.parametrize(
    ("steps", "spacing"), [(2, "even"), (7, "even"), (50, "even"), (50, "stride")]
)
@pytest.mark.parametrize("clip", [True, False])
def test_ancestral_sampling_agrees_with_diffusers(toy_model, variance, steps, spacing, clip):
    """Each state that our sampler shows the model, and the last, against a scheduler's."""
    scheduler = DDPMScheduler(
        beta_schedule="linear", variance_type=variance, clip_sample=clip, timestep_spacing="leading"
    )
    fixed = variance.removeprefix("fixed_")
    learn_sigma = fixed == "learned_range"
    objective = DDPM(
        learn_sigma=learn_sigma, variance="small" if learn_sigma else fixed, spacing=spacing
    )
    if spacing == "stride":
        scheduler.set_timesteps(steps)
    else:
        timesteps = objective.schedule.respaced(steps).timesteps
        scheduler.set_timesteps(timesteps=timesteps.flip(0).tolist())
    noise, y = normal(3, 2, 4, 4), torch.tensor([0, 1, 2])

    model = toy_model(objective.output_channels(2))
    samples = objective.sample(model, noise, y, steps, generator=seeded(5), clip=clip)

    x, generator, states = noise, seeded(5), []
    for t in scheduler.timesteps:
        states.append(x)
        out = toy_model(objective.output_channels(2))(x, t.expand(3), y)
        x = scheduler.step(out, t, x, generator=generator).prev_sample
    states.append(x)
    ours = [call[0] for call in model.calls] + [samples]
    assert len(ours) == steps + 1
    # Without clipping the first predictions of x_0 are magnified 157 times, rounding and all.
    tolerance = 1e-4 if clip else 2e-3
    for mine, theirs in zip(ours, states, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize(
    ("timesteps", "steps", "stride_steps"),
    [(50, 50, 50), (1000, 28, 27)],  # every step; and steps of 37, which 1000 // 27 is too
)
def test_ddim_agrees_with_diffusers(toy_model, clip, timesteps, steps, stride_steps):
    scheduler = DDIMScheduler(
        num_train_timesteps=timesteps, beta_schedule="linear", clip_sample=clip
    )
    scheduler.num_inference_steps = stride_steps
    objective = DDPM(timesteps=timesteps)
    noise, y = normal(3, 2, 4, 4), torch.tensor([0, 1, 2])
    model = toy_model(4)
    samples = objective.sample(model, noise, y, steps, sampler="ddim", clip=clip)
    for i, (x, t, _) in enumerate(model.calls):
        eps = toy_model(4)(x, t, y)[:, :2]
        expected = scheduler.step(
            eps, int(t[0]), x, eta=0.0, use_clipped_model_output=True
        ).prev_sample
        actual = model.calls[i + 1][0] if i + 1 < steps else samples
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("steps", [10, 50])
def test_ddim_by_stride_is_diffusers_own_grid(toy_model, steps, clip):
    scheduler = DDIMScheduler(beta_schedule="linear", clip_sample=clip)
    scheduler.set_timesteps(steps)
    noise, y = normal(3, 2, 4, 4), torch.tensor([0, 1, 2])
    model = toy_model(4)
    samples = DDPM(spacing="stride").sample(model, noise, y, steps, sampler="ddim", clip=clip)
    x = noise
    for t in scheduler.timesteps:
        eps = toy_model(4)(x, t.expand(3), y)[:, :2]
        x = scheduler.step(eps, int(t), x, eta=0.0, use_clipped_model_output=True).prev_sample
    torch.testing.assert_close(samples, x, rtol=1e-3, atol=1e-3)


def test_a_large_variance_is_for_a_fixed_one():
    with pytest.raises(DitbenchError, match=r"eval\.variance = large"):
        DDPM(variance="large")


def test_samples_guided_in_three_channels_of_four_differ_in_the_fourth(toy_model):
    """The fourth is predicted by the conditional rows alone, and does not diverge."""
    noise, y = normal(2, 4, 4, 4), torch.tensor([0, 1])

    def sample(cfg_scale, cfg_channels=None):
        given = {"sampler": "ddim", "null_class": 2, "cfg_channels": cfg_channels}
        return DDPM().sample(toy_model(8), noise, y, 1, cfg_scale, **given, clip=False)

    plain, guided, three = sample(1), sample(4), sample(4, 3)
    assert torch.equal(three[:, :3], guided[:, :3])
    assert torch.equal(three[:, 3:], plain[:, 3:])
    assert not torch.allclose(plain, guided)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
@pytest.mark.parametrize("learn_sigma", [True, False])
def test_the_perfect_eps_recovers_the_data(sampler, learn_sigma):
    """Normal data of deviation 0.5, 20,000 samples: deviation within 3%, mean within 5 errors."""
    objective = DDPM(learn_sigma=learn_sigma)
    model = Oracle(0.5, objective.output_channels(1))
    noise = normal(20_000, 1, 1, 1)
    y = torch.zeros(20_000, dtype=torch.long)
    samples = objective.sample(
        model, noise, y, 200, sampler=sampler, generator=seeded(1), clip=False
    )
    assert samples.std().item() == pytest.approx(0.5, rel=0.03)
    assert samples.mean().item() == pytest.approx(0, abs=5 * 0.5 / 20_000**0.5)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_one_step_is_the_image_predicted_from_pure_noise(toy_model, sampler):
    model, noise, y = toy_model(4), normal(3, 2, 4, 4), torch.tensor([0, 1, 2])
    samples = DDPM().sample(model, noise, y, 1, sampler=sampler, generator=seeded())
    ((x, t, _),) = model.calls
    assert torch.equal(x, noise)
    assert t.tolist() == [999] * 3
    abar = np.prod(1 - np.linspace(1e-4, 0.02, 1000))
    eps = toy_model(4)(noise, t, y)[:, :2]
    expected = ((noise - (1 - abar) ** 0.5 * eps) / abar**0.5).clamp(-1, 1)
    torch.testing.assert_close(samples, expected, rtol=1e-4, atol=1e-4)


def test_ancestral_sampling_needs_a_generator(toy_model):
    with pytest.raises(ValueError, match="generator"):
        DDPM().sample(toy_model(4), normal(1, 2, 4, 4), torch.tensor([0]), 3)
