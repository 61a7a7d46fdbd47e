"""Real images beside those of the data: pictures, a data set, or statistics that were published."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from torch import Tensor

from ditbench.data import find_source, load_dataset
from ditbench.data.io.files import reason, shown
from ditbench.data.pictures.settings import Settings
from ditbench.data.pictures.streamed import StreamedPictures
from ditbench.errors import DitbenchError
from ditbench.metrics.features.extractors import Extractor
from ditbench.metrics.metric import RealStatistics
from ditbench.metrics.real import RealImages

PUBLISHED = {"mu.npy", "sigma.npy"}  # of an .npz as ADM's evaluation makes and reads
OF = "inception"  # the features of published statistics
MAX_BYTES = 2**30  # of one of them: 8,192 features, the square of them in float64, are half of it
# The number of images is not published. FID does not depend on it.
COUNT = 50_000


@dataclass(frozen=True, eq=False)
class Published:
    """The mean (F,) and the covariance (F, F) of features of real images, in float64."""

    path: Path
    mean: Tensor
    covariance: Tensor
    digest: str

    def check(self, features: str) -> None:
        """Raise a DitbenchError unless they are of the features of this name."""
        if features != OF:
            what = f"{shown(self.path)} has statistics of Inception features, not of {features}"
            raise DitbenchError(what, f"use --features {OF}, or the real images: --real FOLDER")

    def statistics(self, extractor: Extractor) -> RealStatistics:
        """The statistics without single images; a DitbenchError for other features."""
        self.check(extractor.name)
        F = len(self.mean)
        if extractor.num_features != F:
            raise DitbenchError(
                f"{shown(self.path)} has statistics of {F} features, expected "
                f"{extractor.num_features}",
                "use the reference file of the whole data set that ADM published",
            )
        sums, outer = COUNT * self.mean, COUNT * self.mean.outer(self.mean)
        outer_sum = (COUNT - 1) * self.covariance + outer
        none, rows = torch.zeros(0, dtype=torch.float64), torch.zeros(0, F)
        return RealStatistics(COUNT, sums, outer_sum, rows, none.sum(), none, none)


def is_published(path: Path | None) -> bool:
    """Whether a file is an .npz with the statistics of features."""
    if path is None or path.suffix.lower() != ".npz" or not path.is_file():
        return False
    try:
        with ZipFile(path) as file:
            return PUBLISHED.issubset(file.namelist())
    except (OSError, BadZipFile):
        return False


@cache
def load_reference(path: Path, image_size: int | None, channels: int) -> Published | RealImages:
    """The real images at a path or of a name, as images of one size; or published statistics.

    The path is that of pictures, which are read when they are needed, or of an .npz of images or of
    the statistics `mu` and `sigma`. Raises a DitbenchError if there is nothing of this kind.
    """
    if is_published(path):
        return _read(path)
    name, place = find_source(path)
    settings = Settings(image_size=image_size)
    if name == "folder" and place is not None:
        return StreamedPictures(place, settings, channels)
    dataset = load_dataset(name, place, settings)
    if dataset.latents is not None:
        raise DitbenchError(f"{shown(path)} has latents, not real images", "name their images")
    if dataset.channels < channels:
        dataset = replace(dataset, images=dataset.images.expand(-1, channels, -1, -1))
    return dataset


def _read(path: Path) -> Published:
    """Published statistics; nothing in the file is executed."""
    try:
        with ZipFile(path) as file:
            if max(file.getinfo(name).file_size for name in PUBLISHED) > MAX_BYTES:
                raise ValueError("it is too large")
        with np.load(path, allow_pickle=False) as arrays:
            mean, covariance = (np.asarray(arrays[name], np.float64) for name in ("mu", "sigma"))
        if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
            raise ValueError(f"mu has shape {mean.shape}, sigma {covariance.shape}")
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise ValueError("a number is not finite")
    except Exception as error:  # a damaged stream or header raises anything
        raise DitbenchError(
            f"the statistics in {shown(path)} cannot be read: {reason(error)}",
            "expected mu (F,) and sigma (F, F), as in ADM's reference files; copy it again",
        ) from error
    sha = hashlib.sha256(mean.tobytes() + covariance.tobytes())
    return Published(path, torch.from_numpy(mean), torch.from_numpy(covariance), sha.hexdigest())
