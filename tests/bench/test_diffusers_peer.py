"""The peer is the model of diffusers, with a plain training step."""

import diffusers
import pytest
import torch
from plans import make_plan

from ditbench.bench.adapters import OURS
from ditbench.bench.diffusers_peer import EAGER, EMA_DECAY, DiffusersDiT, PlainTrainer
from ditbench.errors import DitbenchError


def test_the_peer_is_diffusers_model_with_our_weights_and_one_embedder_a_block():
    plan = make_plan(block="adaln-zero", model__depth=3)
    ours = OURS.build(plan)
    candidate = EAGER.build(plan)
    peer = candidate.average
    assert type(peer.transformer) is diffusers.DiTTransformer2DModel
    D, classes = 16, 10
    embedders = (256 * D + D) + (D * D + D) + (classes + 1) * D
    assert candidate.parameters == ours.parameters + (3 - 1) * embedders


def test_the_peer_gives_what_diffusers_gives():
    model = DiffusersDiT(make_plan(block="adaln-zero")).eval()
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(4, 2, 8, 8, generator=draws)
    t, y = torch.arange(4) * 200, torch.arange(7, 11)
    with torch.no_grad():
        out = model(x, t, y)
        expected = model.transformer(x, timestep=t, class_labels=y).sample
    assert out.shape == (4, 4, 8, 8)
    assert torch.equal(out, expected)
    assert model.null_class == 10


def test_the_plain_trainer_trains_and_averages():
    plan = make_plan(block="adaln-zero", train__lr=1e-2)
    trainer = PlainTrainer(DiffusersDiT(plan).train(), plan)
    before = [weight.detach().clone() for weight in trainer.weights]
    trainer.update()
    moved = 0
    for old, new, average in zip(before, trainer.weights, trainer.averages, strict=True):
        moved += not torch.equal(old, new)
        expected = EMA_DECAY * old + (1 - EMA_DECAY) * new.detach()
        torch.testing.assert_close(average, expected, rtol=1e-5, atol=1e-6)
    assert moved == len(before)
    assert not trainer.average.training


def test_what_the_peer_cannot_be_is_refused():
    EAGER.check(make_plan())
    with pytest.raises(DitbenchError, match="takes square images, not 8x4x2"):
        EAGER.check(make_plan(width=4))
    with pytest.raises(DitbenchError, match=r"no model.mlp_ratio = 2"):
        EAGER.check(make_plan(model__mlp_ratio=2.0))
    for name, value in {"qk_norm": True, "norm": "rms", "registers": 1}.items():
        with pytest.raises(DitbenchError, match=f"has no model.{name}"):
            EAGER.check(make_plan(**{f"model__{name}": value}))
