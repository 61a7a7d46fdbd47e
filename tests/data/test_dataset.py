import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ditbench.data.dataset import ImageDataset, to_model, to_uint8
from ditbench.errors import EXIT_FAILED, DitbenchError


def make(**changes):
    images = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).view(2, 3, 4, 5)
    fields = {
        "name": "toy",
        "images": images,
        "labels": torch.tensor([1, 0]),
        "class_names": ("cat", "dog"),
    }
    return ImageDataset(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": torch.zeros(2, 3, 4, 5)}, "images float32"),
        ({"images": torch.zeros(3, 4, 5, dtype=torch.uint8)}, r"uint8 \(3, 4, 5\)"),
        ({"images": torch.zeros(0, 3, 4, 5, dtype=torch.uint8)}, "images uint8"),
        ({"labels": torch.tensor([1, 0, 1])}, r"labels int64 \(3,\), expected int64 \(2,\)"),
        ({"labels": torch.tensor([1.0, 0.0])}, "labels float32"),
        ({"labels": torch.tensor([0, 2])}, r"labels 0..2, expected 0..1"),
        ({"labels": torch.tensor([-1, 0])}, r"labels -1..0, expected 0..1"),
    ],
)
def test_refuses(changes, message):
    with pytest.raises(DitbenchError, match=message):
        make(**changes)


def test_digest_depends_on_shape_pixels_labels_and_nothing_else():
    base = make()
    assert len(base.digest) == 64
    assert int(base.digest, 16)
    assert make(name="other", class_names=("x", "y")).digest == base.digest
    other_pixel = base.images.clone()
    other_pixel[1, 2, 3, 4] += 1
    others = [
        make(images=other_pixel),
        make(labels=torch.tensor([0, 1])),
        make(images=base.images.view(2, 3, 5, 4)),
        make(class_names=("cat", "dog", "eel")),
    ]
    assert len({base.digest, *(other.digest for other in others)}) == 5


def test_digest_follows_the_logical_order_of_pixels():
    base = make()
    strided = base.images.contiguous(memory_format=torch.channels_last)
    assert make(images=strided).digest == base.digest


def test_all_256_values_survive_the_round_trip():
    pixels = torch.arange(256, dtype=torch.uint8)
    x = to_model(pixels)
    assert x.dtype == torch.float32
    assert (x[0], x[255]) == (-1, 1)
    assert torch.equal(to_uint8(x), pixels)


@given(hnp.arrays(np.float32, hnp.array_shapes(max_side=5), elements=st.floats(-2, 2, width=32)))
def test_to_uint8_rounds_to_the_nearest_and_clamps(values):
    pixels = to_uint8(torch.from_numpy(values))
    assert pixels.dtype == torch.uint8
    exact = np.clip((values.astype(np.float64) + 1) * 127.5, 0, 255)
    assert np.abs(pixels.numpy() - exact).max() <= 0.5 + 1e-4


@given(hnp.arrays(np.uint8, (2, 3, 4, 4)), st.floats(-0.0038, 0.0038))
def test_less_than_half_a_level_of_noise_is_rounded_away(pixels, noise):
    images = torch.from_numpy(pixels)
    assert torch.equal(to_uint8(to_model(images) + noise), images)


def test_half_precision_samples():
    x = torch.tensor([-1.0, 0.25, 1.0])
    assert to_uint8(x.bfloat16()).tolist() == [0, 159, 255]


def test_infinite_samples_are_clamped_and_nan_is_refused():
    assert to_uint8(torch.tensor([-torch.inf, torch.inf])).tolist() == [0, 255]
    with pytest.raises(DitbenchError, match="diverged") as caught:
        to_uint8(torch.tensor([0.0, torch.nan]))
    assert caught.value.exit_code == EXIT_FAILED


def test_held_out_images_are_loaded_when_they_are_asked_for_and_once():
    loaded = []

    def load():
        loaded.append(make(images=torch.zeros(2, 3, 4, 5, dtype=torch.uint8)))
        return loaded[-1]

    data = make(load_held_out=load)
    assert data.digest == make().digest
    assert loaded == []
    assert data.held_out is data.held_out is loaded[0]
    assert len(loaded) == 1
    assert make().held_out is None


def test_held_out_images_of_another_shape_are_refused():
    data = make(load_held_out=lambda: make(images=torch.zeros(2, 1, 4, 5, dtype=torch.uint8)))
    with pytest.raises(DitbenchError, match=r"shape \(3, 4, 5\), its held-out images \(1, 4, 5\)"):
        _ = data.held_out
