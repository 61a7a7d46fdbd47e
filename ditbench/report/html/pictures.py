"""Samples of blocks side by side, as small images inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image

from ditbench.report.figures.samples import Image as Pixels

# Strips up to so many pixels are stored as they are; a larger one is resized and compressed.
_MOST_PIXELS = 40_000
_MOST_WIDTH = 1_000
_QUALITY = 85


class Picture(NamedTuple):
    """The samples of one block: a data URI, its size in pixels, and whether it is without loss."""

    block: str
    uri: str
    width: int
    height: int
    is_small: bool


def pictures(strips: Mapping[str, Pixels]) -> list[Picture]:
    """The samples of each block as WebP, without loss if they are small."""
    found = []
    for block, pixels in strips.items():
        image = Image.fromarray(np.rint(np.squeeze(pixels) * 255).astype(np.uint8))
        is_small = image.width * image.height <= _MOST_PIXELS
        if image.width > _MOST_WIDTH:
            image.thumbnail((_MOST_WIDTH, image.height))
        file = io.BytesIO()
        image.save(file, "WEBP", lossless=is_small, quality=_QUALITY)
        uri = f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
        found.append(Picture(block, uri, image.width, image.height, is_small))
    return found
