"""Images in memory at another size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from PIL import Image

from ditbench.data.dataset import ImageDataset
from ditbench.data.pictures.prepare import square


def resized(dataset: ImageDataset, size: int) -> ImageDataset:
    """A data set, and its held-out images, as squares of `size` pixels, cut out of the centre."""
    load = dataset.load_held_out
    later = None if load is None else partial(_resized_later, load, size)
    if (dataset.height, dataset.width) == (size, size):
        return replace(dataset, load_held_out=later)
    images = np.empty((len(dataset), dataset.channels, size, size), np.uint8)
    for index, image in enumerate(dataset.images.numpy()):
        picture = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
        pixels = np.atleast_3d(np.asarray(square(picture, size)))  # (H, W, C)
        images[index] = pixels.transpose(2, 0, 1)
    return replace(dataset, images=torch.from_numpy(images), load_held_out=later)


def _resized_later(load: Callable[[], ImageDataset], size: int) -> ImageDataset:
    return resized(load(), size)
