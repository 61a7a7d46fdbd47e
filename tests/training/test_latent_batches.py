"""Batches of latents: the same from every source, for any number of processes, from any step on."""

from dataclasses import replace

import latents as made
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ditbench.data import find_source, load_dataset
from ditbench.data.latents.space import LatentSpace
from ditbench.data.pictures.settings import Settings
from ditbench.training import batches as module
from ditbench.training.batches import Batches
from ditbench.training.sources import OnDevice, Order, Streamed, mirrored
from ditbench.world import World

CPU = torch.device("cpu")


@pytest.fixture
def shards(tmp_path, own_cache):
    plain, copies, labels = made.lightning_dit(tmp_path / "va", (9, 6, 8))
    arrays = {"latents": plain, "latents_flip": copies, "labels": labels}
    np.savez(tmp_path / "same.npz", **{name: each.numpy() for name, each in arrays.items()})
    return load(tmp_path / "va")


def load(path):
    return load_dataset(*find_source(path), Settings(image_size=32, scaling_factor=0.5))


def batches(data, *, streamed, flip=True, seed=0):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SHARE", 0.0 if streamed else 1.0)
        found = Batches(data, 6, seed, horizontal_flip=flip, device=CPU)
    assert isinstance(found.source, Streamed if streamed else OnDevice)
    return found


def as_moments(data):
    """The same rows, as if two channels were means and two standard deviations."""
    return replace(data, latents=replace(data.latents, kind="moments", mean=None, std=None))


def check_equal(one, two):
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("change", [lambda data: data, as_moments])
def test_every_source_gives_the_same_batches(shards, tmp_path, flip, change):
    others = [change(shards), change(replace(load(tmp_path / "same.npz"), latents=shards.latents))]
    expected = batches(others[0], streamed=False, flip=flip)
    for data in others:
        found = batches(data, streamed=True, flip=flip)
        for step in (0, 1, 2, 3, 7, 8, 5):  # over ends of epochs, and back
            check_equal(found.batch(step), expected.batch(step))


def test_a_coin_chooses_between_latent_and_copy(shards):
    x, y = batches(shards, streamed=True).batch(2)
    index, coins = Order(23, 0, CPU).indices(2, 6), mirrored(0, 2, 6)
    assert 0 < coins.sum() < 6
    rows = made.everything(shards).view(2, 23, *made.SHAPE)[coins.long(), index]
    assert torch.equal(x, shards.to_model(rows))
    assert torch.equal(y, shards.labels[index])
    plain, _ = batches(shards, streamed=True, flip=False).batch(2)
    assert torch.equal(plain, shards.to_model(made.everything(shards)[index]))


def test_moments_are_drawn_anew_at_every_step(shards):
    data = as_moments(shards)
    found = batches(data, streamed=False, flip=False)
    x, _ = found.batch(0)
    index = Order(23, 0, CPU).indices(0, 6)
    mean, std = made.everything(shards)[index].chunk(2, 1)
    noise = (x / data.latents.scaling_factor - mean) / std
    assert x.shape == (6, 2, 4, 4)
    assert abs(float(noise.mean())) < 0.3
    assert 0.8 < float(noise.std()) < 1.2
    again = found.batch(0)[0]
    other = found._drawn(1)
    assert torch.equal(x, again)
    assert not torch.equal(found._drawn(0), other)


@pytest.mark.parametrize("streamed", [False, True])
def test_processes_get_parts_of_the_same_batch(shards, streamed):
    data = as_moments(shards)
    whole = batches(data, streamed=streamed).batch(3)
    parts = []
    for rank in range(4):
        part = World(rank, 4).part(6)
        found = batches(data, streamed=streamed)
        parts.append(found.take(*found.inputs(3, part)))
    check_equal([torch.cat(each) for each in zip(*parts, strict=True)], whole)


def test_nothing_is_mirrored_without_copies(tmp_path, own_cache):
    """That this is asked for is refused before; here, latents stay as they are."""
    made.lightning_dit(tmp_path / "va", flip=False)
    data = load(tmp_path / "va")
    mirrored, plain = (batches(data, streamed=False, flip=flip).batch(0) for flip in (True, False))
    check_equal(mirrored, plain)


def test_few_files_stay_open(tmp_path, own_cache, monkeypatch):
    monkeypatch.setattr("ditbench.data.latents.rows.OPEN", 2)
    monkeypatch.setattr("ditbench.data.latents.rows.AT_ONCE", 3)
    for number in range(5):
        tensors = {"latents": made.numbers(4, number), "labels": torch.arange(4) % 2}
        (tmp_path / "many").mkdir(exist_ok=True)
        save_file(tensors, tmp_path / "many" / f"{number}.safetensors")
    data = load(tmp_path / "many")
    index = torch.tensor([19, 0, 7, 12, 3, 19, 4])
    found = torch.empty(7, *made.SHAPE)
    data.read(index, found)
    assert torch.equal(found, torch.cat([made.numbers(4, n) for n in range(5)])[index])
    assert len(data.file._open) == 2
    assert data.latents == LatentSpace("", "", 32, 0.5, kind="sample")
