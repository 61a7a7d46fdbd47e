"""Latents on a GPU: what is read from disk is what is on the device. Run with `pytest -m gpu`."""

from dataclasses import replace

import latents as made
import pytest
import torch
from on_gpu import ON_A_GPU

from ditbench.bench.synthetic import plan_on
from ditbench.config import load
from ditbench.data.latents.load import load_latents
from ditbench.data.pictures.settings import Settings
from ditbench.runs.planning.plan import build_trainer
from ditbench.training import batches as module
from ditbench.training.batches import Batches
from ditbench.training.sources import OnDevice, Streamed

pytestmark = ON_A_GPU


@pytest.fixture(params=["normalized draws", "moments"])
def data(request, tmp_path, own_cache):
    made.lightning_dit(tmp_path / "va", (150, 106), dtype=torch.float16)
    found = load_latents(tmp_path / "va", Settings(image_size=32))
    if request.param == "moments":
        space = replace(found.latents, kind="moments", mean=None, std=None)
        return replace(found, latents=space)
    return found


def test_streamed_batches_are_those_on_the_gpu(data, monkeypatch):
    found = {}
    for share, kind in ((0.0, Streamed), (1.0, OnDevice)):
        monkeypatch.setattr(module, "SHARE", share)
        batches = Batches(data, 64, 0, horizontal_flip=True, device=torch.device("cuda"))
        assert isinstance(batches.source, kind)
        found[kind] = []
        for step in range(12):
            inputs = batches.inputs(step)
            torch.cuda._sleep(10_000_000)
            found[kind].append([each.clone() for each in batches.take(*inputs)])
    for one, two in zip(*found.values(), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_steps_are_recorded_and_equal_from_both_sources(data, monkeypatch):
    values = {"batch_size": 64, "backend": "plain", "precision": "fp32"}
    given = {f"train__{key}": value for key, value in values.items()}
    config = load("digits").with_values(data__horizontal_flip=True, **given)
    plan, trainers = plan_on(data, config, torch.device("cuda")), []
    for share in (0.0, 1.0):
        monkeypatch.setattr(module, "SHARE", share)
        trainers.append(build_trainer(plan))
    for _ in range(20):  # more than two epochs
        for trainer in trainers:
            trainer.update()
        one, two = (trainer.loss_sum for trainer in trainers)
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
    assert all(trainer._on_device._graph is not None for trainer in trainers)
