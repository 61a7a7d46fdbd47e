"""The order of the data, and label dropout."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ditbench.data.dataset import ImageDataset, to_model
from ditbench.seeds import generator
from ditbench.training.batches import Batches, drop
from ditbench.training.sources import Order

CPU = torch.device("cpu")


def dataset(count):
    images = torch.arange(count * 4, dtype=torch.uint8).view(count, 1, 2, 2)
    return ImageDataset("test", images, torch.arange(count) % 3, ("a", "b", "c"))


def batches(count, size, seed=0, flip=False):
    return Batches(dataset(count), size, seed, horizontal_flip=flip, device=CPU)


@given(count=st.integers(1, 50), size=st.integers(1, 50), seed=st.integers(0, 5))
@settings(deadline=None)
def test_every_epoch_holds_every_image_once(count, size, seed):
    size = min(count, size)
    order = Order(count, seed, CPU)
    steps = -(-3 * count // size)
    seen = torch.cat([order.indices(step, size) for step in range(steps)])[: 3 * count]
    for epoch in seen.view(3, count):
        assert sorted(epoch.tolist()) == list(range(count))


def test_a_batch_depends_on_seed_and_step_alone():
    ahead, back = Order(20, 0, CPU), Order(20, 0, CPU)
    forward = [ahead.indices(step, 8) for step in range(9)]
    backward = [back.indices(step, 8) for step in reversed(range(9))][::-1]
    assert all(torch.equal(one, two) for one, two in zip(forward, backward, strict=True))
    assert not torch.equal(Order(20, 1, CPU).indices(0, 8), forward[0])


def test_images_come_with_their_labels_in_the_model_s_range():
    data = batches(20, 8)
    x, y = data.batch(4)
    index = Order(20, 0, CPU).indices(4, 8)
    assert torch.equal(x, to_model(dataset(20).images[index]))
    assert torch.equal(y, dataset(20).labels[index])
    assert x.dtype == torch.float32
    assert -1 <= x.min() < x.max() <= 1


def test_flips_mirror_about_half_of_the_images_and_nothing_else():
    plain, flipped = batches(60, 60), batches(60, 60, flip=True)
    x, _ = plain.batch(0)
    mirrored, _ = flipped.batch(0)
    is_same = (mirrored == x).flatten(1).all(1)
    is_mirror = (mirrored == x.flip(-1)).flatten(1).all(1)
    assert (is_same ^ is_mirror).all()
    assert 15 < is_mirror.sum() < 45
    assert torch.equal(mirrored, batches(60, 60, flip=True).batch(0)[0])


def test_labels_are_dropped_at_the_asked_rate():
    dropped = drop(20_000, 0.1, generator(0, "dropout"))
    # Three standard deviations of a binomial share.
    assert dropped.float().mean().item() == pytest.approx(0.1, abs=3 * (0.1 * 0.9 / 20_000) ** 0.5)


def test_batches_leave_the_global_stream_alone():
    before = torch.random.get_rng_state()
    batches(20, 8, flip=True).batch(3)
    assert torch.equal(torch.random.get_rng_state(), before)
