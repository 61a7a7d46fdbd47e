"""Samples inside the page: small ones without loss, large ones made small."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from ditbench.report.html.pictures import pictures


def opened(picture):
    assert picture.uri.startswith("data:image/webp;base64,")
    image = Image.open(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2])))
    assert image.size == (picture.width, picture.height)
    return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_small_samples_are_exact(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (17, 89, *channels), np.uint8)
    (picture,) = pictures({"adaln": pixels / 255})
    assert picture.is_small
    assert (opened(picture) == pixels.reshape(17, 89, -1)).all()


def test_large_samples_are_made_small():
    y, x = np.mgrid[:512, :5120] / 512
    (picture,) = pictures({"adaln": np.stack([y, x % 1, y * 0], -1)})
    assert (picture.width, picture.height) == (1000, 100)
    assert not picture.is_small
    assert len(picture.uri) < 40_000
