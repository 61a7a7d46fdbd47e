"""Samples: from the same noise for every block, and checked."""

import math

import pytest
import torch

from ditbench.data.dataset import NanSamples
from ditbench.errors import EXIT_FAILED
from ditbench.models.registry import block_names
from ditbench.runs.planning.plan import build_model
from ditbench.runs.scoring.labels import balanced_labels
from ditbench.runs.scoring.sampling import Noise, sample_batches, sample_images


def test_every_block_and_step_is_sampled_from_the_same_noise(make_plan):
    """At the start every model predicts zero, so the samples are the noise itself."""
    samples = []
    for block in block_names():
        plan = make_plan(block=block)
        model = build_model(plan)
        labels = balanced_labels(40, 10)
        samples.append(sample_images(model, plan, labels))
    assert samples[0].float().std() > 50
    assert all(torch.equal(samples[0], other) for other in samples[1:])


@pytest.mark.parametrize(("objective", "depends"), [("flow", False), ("ddpm", True)])
def test_only_ancestral_noise_depends_on_the_batch_size(make_plan, objective, depends):
    """As `sample_images` says; 64 values per image are a multiple of 16."""
    settings = {"objective__name": objective, "eval__sampling_steps": 3}  # noise is added twice
    plans = [make_plan(eval__batch_size=size, **settings) for size in (40, 7)]
    one, two = (sample_images(build_model(plan), plan, balanced_labels(40, 10)) for plan in plans)
    assert torch.equal(one, two) != depends


@pytest.mark.parametrize("batch", [0, 2])
def test_samples_that_hold_nan_are_refused_whatever_batch_they_are_in(
    make_plan, monkeypatch, batch
):
    plan = make_plan(eval__batch_size=10)
    model = build_model(plan)
    original, batches = plan.objective.sample, []

    def sample(*args, **options):
        x = original(*args, **options)
        if len(batches) == batch:
            x[3, 0, 1, 1] = math.nan
        batches.append(x)
        return x

    monkeypatch.setattr(plan.objective, "sample", sample)
    with pytest.raises(NanSamples, match="diverged") as caught:
        sample_images(model, plan, balanced_labels(40, 10))
    assert caught.value.exit_code == EXIT_FAILED


@pytest.mark.parametrize(("clip", "clamped"), [(None, True), (True, True), (False, False)])
def test_samples_are_clamped_unless_eval_clip_is_false(make_plan, clip, clamped):
    plan = make_plan(objective__name="ddpm", eval__clip=clip)
    model = build_model(plan)
    torch.nn.init.ones_(model.final_layer.linear.bias)
    noise = Noise.of(0, plan.device)
    (x,) = sample_batches(model, plan, balanced_labels(10, 10), noise)
    assert (x.abs().max() <= 1) == clamped
