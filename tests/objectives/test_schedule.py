import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st

from ditbench.errors import DitbenchError
from ditbench.objectives.schedule import Schedule

FULL = Schedule.linear(1000, 1e-4, 0.02)


def test_betas_and_abar_agree_with_diffusers():
    reference = DDPMScheduler(beta_schedule="linear")
    torch.testing.assert_close(FULL.betas.float(), reference.betas, rtol=1e-5, atol=0)
    torch.testing.assert_close(
        FULL.alphas_cumprod.float(), reference.alphas_cumprod, rtol=1e-4, atol=0
    )


def test_posterior_is_that_of_bayes_rule():
    """q(x_{t-1} | x_t, x_0) from the precisions of its two factors, for a few steps."""
    betas = np.linspace(1e-4, 0.02, 1000)
    abar = np.cumprod(1 - betas)
    for t in (1, 10, 500, 999):
        c = FULL.at_step(t)
        prior_precision = 1 / (1 - abar[t - 1])  # x_{t-1} given x_0
        likelihood_precision = (1 - betas[t]) / betas[t]  # x_t given x_{t-1}
        variance = 1 / (prior_precision + likelihood_precision)
        assert np.exp(c.log_beta_tilde) == pytest.approx(variance, rel=1e-9)
        assert c.posterior_x0 == pytest.approx(
            variance * prior_precision * abar[t - 1] ** 0.5, rel=1e-9
        )
        assert c.posterior_xt == pytest.approx(
            variance * likelihood_precision / (1 - betas[t]) ** 0.5, rel=1e-9
        )


def test_the_first_posterior_is_a_point_with_the_next_variance_in_its_stead():
    c = FULL.at_step(0)
    assert c.posterior_x0 == pytest.approx(1, rel=1e-12)
    assert c.posterior_xt == 0
    assert c.log_beta_tilde == FULL.at_step(1).log_beta_tilde


@given(st.integers(2, 1000).flatmap(lambda T: st.tuples(st.just(T), st.integers(2, T))))
def test_respaced_timesteps_are_increasing_and_span_the_chain(lengths):
    timesteps, steps = lengths
    kept = Schedule.linear(timesteps, 1e-4, 0.02).respaced(steps).timesteps
    assert len(kept) == steps
    assert (kept.diff() > 0).all()
    assert (kept[0], kept[-1]) == (0, timesteps - 1)


@pytest.mark.parametrize("steps", [2, 10, 50, 100, 250, 500, 1000])
def test_a_stride_that_divides_the_chain_is_diffusers_leading_one(steps):
    reference = DDPMScheduler(timestep_spacing="leading")
    reference.set_timesteps(steps)
    kept = FULL.respaced(steps, "stride").timesteps
    assert kept.tolist() == reference.timesteps.flip(0).tolist()


@given(st.integers(1, 1000))
def test_a_stride_is_the_least_that_takes_so_many_steps(steps):
    fitting = [k for k in range(1, 1000) if len(range(0, 1000, k)) == steps]
    if fitting:
        kept = FULL.respaced(steps, "stride").timesteps
        assert kept.tolist() == list(range(0, 1000, fitting[0]))
    else:
        with pytest.raises(
            DitbenchError, match=f"no whole stride .* takes {steps} steps"
        ) as raised:
            FULL.respaced(steps, "stride")
        near = [int(word) for word in raised.value.hint.split() if word.isdecimal()]
        assert len(near) == 2
        assert all(len(FULL.respaced(each, "stride")) == each for each in near)


@given(st.integers(1, 1000))
def test_respacing_preserves_abar(steps):
    respaced = FULL.respaced(steps)
    from_betas = torch.cumprod(1 - respaced.betas, dim=0)
    torch.testing.assert_close(
        from_betas, FULL.alphas_cumprod[respaced.timesteps], rtol=1e-10, atol=0
    )
    assert ((respaced.betas > 0) & (respaced.betas < 1)).all()


def test_respaced_timesteps_are_the_nearest_to_an_even_grid():
    assert FULL.respaced(5).timesteps.tolist() == [0, 250, 500, 749, 999]
    assert FULL.respaced(11).timesteps[:4].tolist() == [0, 100, 200, 300]


def test_one_step_is_the_last():
    respaced = FULL.respaced(1)
    assert respaced.timesteps.tolist() == [999]
    assert respaced.betas.item() == pytest.approx(1 - FULL.alphas_cumprod[-1].item())
    assert np.isfinite(respaced.at_step(0)).all()


def test_batched_coefficients_are_those_of_each_step_rounded_to_float32():
    steps = torch.tensor([0, 3, 999])
    batched = FULL.at(steps)
    for name, column in batched._asdict().items():
        assert column.shape == (3, 1, 1, 1)
        expected = torch.tensor([getattr(FULL.at_step(int(i)), name) for i in steps])
        assert torch.equal(column.flatten(), expected), name


def test_learned_log_variance_spans_beta_tilde_to_beta():
    c = FULL.at_step(400)
    v = torch.tensor([-1.0, 0.0, 1.0])
    expected = [c.log_beta_tilde, (c.log_beta_tilde + c.log_beta) / 2, c.log_beta]
    torch.testing.assert_close(c.learned_log_variance(v), torch.tensor(expected))
