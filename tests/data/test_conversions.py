"""Hints of conversions: their code is executed, and the result is compared with the original."""

import re

import numpy as np
import pytest
from PIL import Image, ImageCms

from ditbench.data.latents.npz import load_npz
from ditbench.errors import DitbenchError

PIXELS = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)  # N, H, W: every value
FLOATS = PIXELS.astype(np.float64)


def carried_out(hint, **names):
    """The value of the code in a hint: what is after its first colon, without the remark."""
    code = hint.partition(": ")[2].partition("; ")[0]
    return eval(code, {"numpy": np, "Image": Image, "ImageCms": ImageCms, **names})


def hint_of(tmp_path, **arrays):
    path = tmp_path / "x.npz"
    np.savez(path, **{"images": PIXELS, "labels": [0, 1, 0, 1]} | arrays)
    with pytest.raises(DitbenchError) as raised:
        load_npz(path)
    return raised.value.hint


ARRAYS = {
    "from 0 to 1": FLOATS / 255,
    "from 0 to 1 in half precision": (FLOATS / 255).astype(np.float16),
    "from -1 to 1": (FLOATS / 127.5 - 1).astype(np.float32),
    "beyond 1 by rounding": (FLOATS / 127.5 - 1) * 1.0005,
    "from 0 to 255": FLOATS,
    "wider integers": PIXELS.astype(np.int64),
    "16 bits of which 8 are used": PIXELS.astype(np.uint16),
    "16 bits": PIXELS.astype(np.uint16) * 257,
}


@pytest.mark.parametrize("name", ARRAYS)
def test_the_hint_for_an_array_gives_the_pixels_back(tmp_path, name):
    images = ARRAYS[name]
    converted = carried_out(hint_of(tmp_path, images=images), images=images)
    assert converted.dtype == np.uint8
    assert np.array_equal(converted, PIXELS)


def test_the_hint_for_booleans_is_black_and_white(tmp_path):
    images = PIXELS > 99
    converted = carried_out(hint_of(tmp_path, images=images), images=images)
    assert np.array_equal(converted, np.where(images, 255, 0))


@pytest.mark.parametrize("images", [(FLOATS - 120) / 60, PIXELS.astype(np.int32) * 1000 - 5])
def test_the_hint_for_another_range_asks_for_the_range(tmp_path, images):
    hint = hint_of(tmp_path, images=images)
    low, high = map(float, re.search(r"here (\S+) and (\S+)$", hint).groups())
    assert np.allclose([low, high], [images.min(), images.max()], rtol=1e-5)
    assert np.array_equal(carried_out(hint, images=images, low=low, high=high), PIXELS)


LATENTS = np.random.default_rng(0).normal(0, 2, (4, 4, 8, 8)).astype(np.float32)


@pytest.mark.parametrize(
    ("images", "hint"),
    [(LATENTS, "latents="), (LATENTS.transpose(0, 2, 3, 1), "latents="),
     (np.where(PIXELS == 7, np.nan, FLOATS), "NaN"), (np.full(4, 1 + 2j), "expected"),
     (np.full((4, 2, 2), "x"), "expected"), (FLOATS[:0], "expected")],
)  # fmt: skip
def test_what_is_not_pixels_gets_no_formula(tmp_path, images, hint):
    found = hint_of(tmp_path, images=images)
    assert hint in found
    assert "rint" not in found


def test_the_hint_for_rgba_blends_it(tmp_path):
    images = np.zeros((4, 5, 2, 4), np.uint8)
    images[..., 0, :] = (10, 20, 30, 255)  # opaque
    images[..., 1, :] = (10, 20, 30, 0)  # transparent: these numbers are not seen
    converted = carried_out(hint_of(tmp_path, images=images), images=images)
    assert converted[0, 0].tolist() == [[10, 20, 30], [255, 255, 255]]


@pytest.mark.parametrize(
    ("labels", "numbers"),
    [([0.0, 1, 0, 2], [0, 1, 0, 2]), ([True, False, False, True], [1, 0, 0, 1]),
     (["0", "10", "2", "0"], [0, 10, 2, 0]), (np.eye(4)[[1, 0, 3, 3]], [1, 0, 3, 3])],
)  # fmt: skip
def test_the_hint_for_labels_keeps_their_numbers(tmp_path, labels, numbers):
    labels = np.array(labels)
    converted = carried_out(hint_of(tmp_path, labels=labels), labels=labels)
    assert converted.tolist() == numbers


@pytest.mark.parametrize("kind", ["U", "S"])
def test_the_hint_for_names_keeps_the_names(tmp_path, kind):
    labels = np.array(["dog", "cat", "eel", "dog"]).astype(kind)
    assignment = hint_of(tmp_path, labels=labels).partition(": ")[2]
    names = {"numpy": np, "labels": labels}
    exec(assignment, names)
    path = tmp_path / "y.npz"
    np.savez(path, images=PIXELS, labels=names["labels"], class_names=names["class_names"])
    data = load_npz(path)
    assert [data.class_names[label] for label in data.labels] == ["dog", "cat", "eel", "dog"]


@pytest.mark.parametrize("labels", [[0.5, 1, 0, 1], [0, 1], [[["x"]]]])
def test_labels_that_are_no_classes_are_not_truncated(tmp_path, labels):
    assert "astype('int64')" not in hint_of(tmp_path, labels=np.array(labels))
