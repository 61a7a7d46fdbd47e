"""Hints how to convert what is not 8-bit grey or RGB: each keeps what the pixels show.

A conversion that is too simple destroys images: `image.convert('RGB')` clips 16 bits to black and
white, and `astype('uint8')` wraps around. The code in a hint comes after its first colon.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

RGBA = (
    "blend RGBA with one background: numpy.rint(images[..., :3] * (images[..., 3:] / 255) "
    "+ (255 - images[..., 3:])).astype('uint8')"
)
_TOLERANCE = 1e-3  # how far normalized numbers may exceed their range by rounding
# Common ranges of floats, and what gives 0 to 255.
_RANGES = ((0, 1, "255 * images"), (-1, 1, "127.5 * (images + 1)"), (0, 255, "images"))


def of_pixels(images: NDArray[Any]) -> str:
    """How to convert a non-empty array `images` of another type than uint8."""
    kind, low, high = images.dtype.kind, images.min(), images.max()
    if kind == "b":
        return "convert them: 255 * images.astype('uint8')"
    if not np.isfinite([low, high]).all():
        return "some of them are NaN or infinite: save pixels as uint8, from 0 to 255"
    if kind == "f":
        return _of_floats(images.shape, float(low), float(high))
    if low >= 0 and high <= 255:
        return "convert them, nothing is lost: images.astype('uint8')"
    if images.dtype == np.uint16:
        return (
            "scale them to 8 bits: numpy.rint(images * (255 / 65535)).astype('uint8')"
            f"; with the largest possible value for 65535, if it is smaller; here it is {high}"
        )
    return _of_range(float(low), float(high))


def _of_floats(shape: tuple[int, ...], low: float, high: float) -> str:
    if low < -_TOLERANCE and len(shape) == 4 and not {shape[1], shape[3]} & {1, 3}:
        return (
            "latents of an autoencoder are named so: numpy.savez(PATH, latents=..., labels=..., "
            "image_size=256, scaling_factor=0.18215)"
        )
    for first, last, code in _RANGES:
        if first - _TOLERANCE <= low and high <= last + _TOLERANCE:
            return (
                f"convert numbers from {first} to {last}: "
                f"numpy.rint({code}).clip(0, 255).astype('uint8')"
            )
    return _of_range(low, high)


def _of_range(low: float, high: float) -> str:
    return (
        "undo a normalization if there was one, or scale them to 8 bits: "
        "numpy.rint((images - low) * (255 / (high - low))).astype('uint8')"
        f"; with the lowest and highest possible value as low and high; here {low:g} and {high:g}"
    )


def of_labels(labels: NDArray[Any]) -> str:
    """How to convert an array `labels` that is not one integer per image."""
    whole = "convert them, they are whole numbers: labels.astype('int64')"
    if labels.ndim == 2 and labels.dtype.kind in "biuf":
        return "one-hot labels become numbers so: labels.argmax(1)"
    if labels.ndim != 1 or labels.dtype.kind not in "bfUS":
        return "save one label per image, the number of its class"
    try:
        numbers = labels.astype("int64")
        if labels.dtype.kind in "US" or (numbers == labels).all():
            return whole
    except ValueError:  # text that is not a number
        pass
    return (
        "number the classes and save their names, too: "
        "class_names, labels = numpy.unique(labels.astype(str), return_inverse=True)"
    )
