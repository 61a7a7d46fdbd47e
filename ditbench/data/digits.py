"""Handwritten digits of 8x8 pixels that come with scikit-learn: nothing to download."""

from __future__ import annotations

from importlib.metadata import distribution

import numpy as np
import torch

from ditbench.data.dataset import ImageDataset


def load_digits() -> ImageDataset:
    """The 1,797 digits of the UCI Optical Recognition test set: (1797, 1, 8, 8), classes 0..9.

    The 17 grey levels (0..16) are spread over 0..255. Source: E. Alpaydin and C. Kaynak (1998),
    Optical Recognition of Handwritten Digits, UCI Machine Learning Repository.
    """
    # Only the file is read: to import scikit-learn takes a second.
    file = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    table = np.loadtxt(str(file), delimiter=",")  # (N, 8 * 8 + 1): pixels and the label
    pixels = np.rint(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    images = torch.from_numpy(pixels).unsqueeze(1)
    labels = torch.from_numpy(table[:, -1].astype(np.int64))
    return ImageDataset("digits", images, labels, tuple("0123456789"))
