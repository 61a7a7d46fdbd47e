"""What every objective and every sampler does."""

import pytest
import torch
import torch._dynamo
from draws import loss_of, normal, pixels, seeded

from ditbench.errors import DitbenchError
from ditbench.objectives import OBJECTIVES, create_objective
from ditbench.objectives.base import Objective
from ditbench.seeds import normal_like

KINDS = [("ddpm", {}), ("ddpm", {"learn_sigma": False}), ("flow", {})]
for_each = pytest.mark.parametrize(("name", "options"), KINDS)
for_each_sampler = pytest.mark.parametrize(
    ("name", "options", "sampler"),
    [(*kind, sampler) for kind in KINDS for sampler in create_objective(kind[0]).samplers],
)


def images():
    """Images and their labels."""
    return pixels(4, 2, 4, 4), torch.arange(4)


def test_every_name_creates_its_objective():
    assert tuple(OBJECTIVES) == ("ddpm", "flow")
    for name in OBJECTIVES:
        objective = create_objective(name)
        assert isinstance(objective, Objective)
        assert objective.name == name
        assert objective.samplers


def test_options_reach_the_objective():
    assert create_objective("ddpm").output_channels(4) == 8
    assert create_objective("ddpm", learn_sigma=False).output_channels(4) == 4
    assert create_objective("ddpm", timesteps=10).max_steps == 10
    assert create_objective("flow").output_channels(4) == 4


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(DitbenchError, match="dpm") as caught:
        create_objective("dpm")
    assert "ddpm" in caught.value.hint
    assert caught.value.exit_code == 2


@for_each
def test_a_seed_decides_the_loss(toy_model, name, options):
    objective = create_objective(name, **options)
    model = toy_model(objective.output_channels(2))
    same, again, other = (loss_of(objective, model, *images(), seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(same, again)
    assert not torch.equal(same, other)


@for_each
def test_a_bfloat16_output_gives_a_float32_loss(toy_model, name, options):
    objective = create_objective(name, **options)
    model = toy_model(objective.output_channels(2))

    def bfloat16_model(x, t, y):
        assert x.dtype == torch.float32
        return model(x, t, y).bfloat16()

    loss = loss_of(objective, bfloat16_model, *images())
    rounded = loss_of(objective, lambda *given: bfloat16_model(*given).double(), *images())
    assert loss.dtype == torch.float32
    assert loss.shape == ()
    torch.testing.assert_close(loss, rounded, rtol=1e-6, atol=0)


@for_each
def test_a_model_of_other_channels_raises_with_both_shapes(toy_model, name, options):
    objective = create_objective(name, **options)
    right = objective.output_channels(2)
    wrong = 6 - right
    with pytest.raises(ValueError, match=rf"\(4, {wrong}, 4, 4\).*not \(4, {right}, 4, 4\)"):
        loss_of(objective, toy_model(wrong), *images())


@for_each
@torch._dynamo.config.patch(error_on_recompile=True)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_loss_compiles_once_and_without_a_break(name, options, dtype):
    torch._dynamo.reset()
    eager, compiled = create_objective(name, **options), create_objective(name, **options)
    compiled.loss = torch.compile(compiled.loss, fullgraph=True, dynamic=False, backend="aot_eager")
    x, y = images()
    out = normal(4, eager.output_channels(2), 4, 4, seed=3).to(dtype)
    for seed in (0, 1):
        t, noise = eager.draw(x, seeded(seed))
        if name == "ddpm":
            t[0] = 0  # whose term has a formula of its own
        results = []
        for objective in (eager, compiled):
            leaf = out.clone().requires_grad_()
            loss = objective.loss_at(lambda *_, leaf=leaf: leaf, x, y, t, noise)
            loss.backward()
            results.append((loss.detach(), leaf.grad))
        torch.testing.assert_close(results[1], results[0], rtol=1e-6, atol=1e-7)


@for_each_sampler
def test_samples_follow_the_seed_and_the_guidance(toy_model, name, options, sampler):
    objective = create_objective(name, **options)
    noise, y = normal(4, 2, 4, 4).requires_grad_(), torch.arange(4)

    def sample(seed, *guidance, **null):
        model = toy_model(objective.output_channels(2))
        generator = seeded(seed)
        samples = objective.sample(
            model, noise, y, 4, *guidance, **null, sampler=sampler, generator=generator
        )
        assert not samples.requires_grad
        assert samples.dtype == torch.float32
        assert samples.abs().max() <= 1
        return samples, {len(call[0]) for call in model.calls}

    plain, rows = sample(3)
    assert rows == {4}
    assert torch.equal(sample(3)[0], plain)
    assert torch.equal(sample(4)[0], plain) == (sampler != "ddpm")
    guided, rows = sample(3, 3.0, null_class=9)
    assert rows == {8}
    assert not torch.allclose(plain, guided)


@for_each_sampler
def test_the_number_of_draws_is_what_a_sampler_takes_from_its_generator(
    toy_model, name, options, sampler
):
    objective = create_objective(name, **options)
    model, used, drawn = toy_model(objective.output_channels(2)), seeded(), seeded()
    x = normal(3, 2, 4, 4)
    objective.sample(model, x, torch.arange(3), 5, sampler=sampler, generator=used)
    for _ in range(objective.noise_draws(sampler, 5)):
        normal_like(x, drawn)
    assert torch.equal(used.get_state(), drawn.get_state())


@for_each_sampler
def test_sampling_reads_nothing_back_from_the_device(toy_model, name, options, sampler):
    """The meta device has no values: reading one would raise."""
    objective = create_objective(name, **options)
    noise = torch.empty(2, 2, 4, 4, device="meta")
    y = torch.empty(2, dtype=torch.long, device="meta")
    model = toy_model(objective.output_channels(2))
    samples = objective.sample(
        model, noise, y, 4, 2.0, null_class=9, sampler=sampler, generator=seeded()
    )
    assert samples.shape == noise.shape


@pytest.mark.parametrize(("name", "sampler"), [("ddpm", "ddim"), ("flow", "heun")])
def test_invalid_steps_and_unknown_samplers_are_refused(toy_model, name, sampler):
    objective = create_objective(name)
    given = toy_model(objective.output_channels(2)), normal(1, 2, 4, 4), torch.tensor([0])
    for steps in (0, -1, *([1001] if name == "ddpm" else [])):
        with pytest.raises(DitbenchError, match="sampling_steps") as caught:
            objective.sample(*given, steps, generator=seeded())
        assert name == "flow" or "from 1 to 1000" in caught.value.hint
        assert caught.value.exit_code == 2
    if name == "flow":
        objective.sample(*given, 1001)  # a flow has no longest chain
    with pytest.raises(DitbenchError, match=f"{sampler}x") as caught:
        objective.sample(*given, 3, sampler=f"{sampler}x")
    assert sampler in caught.value.hint
