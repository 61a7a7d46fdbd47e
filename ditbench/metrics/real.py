"""Statistics of the real images, computed once per data set and extractor, and cached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ditbench.data.io.tensors import read_tensors, write_tensors
from ditbench.files import cache_directory
from ditbench.metrics.metric import RealStatistics

if TYPE_CHECKING:
    from ditbench.data.dataset import ImageDataset
    from ditbench.metrics.extractors import Extractor

REVISION = 1  # incremented when the same images and extractor give other statistics
MAX_ROWS = 10_000
ROWS_SEED = 0


def real_statistics(
    dataset: ImageDataset,
    extractor: Extractor,
    device: torch.device | str = "cpu",
    passed: Callable[[int], None] | None = None,
) -> RealStatistics:
    """The statistics of all images of a data set, from the cache if it has them.

    The extractor is on `device`. Only rounding depends on the device. `passed` receives the number
    of images after each pass of the network.
    """
    path = cached_file(dataset, extractor)
    if path is None:
        return compute_statistics(dataset.images, extractor, device, passed=passed)
    key = {"dataset": dataset.digest, "extractor": extractor.digest, "revision": str(REVISION)}
    if cached := read_tensors(path, key):
        return RealStatistics(int(cached.pop("count")), **cached)
    statistics = compute_statistics(dataset.images, extractor, device, passed=passed)
    write_tensors(path, key, {**vars(statistics), "count": torch.tensor(statistics.count)})
    return statistics


def cached_file(dataset: ImageDataset, extractor: Extractor) -> Path | None:
    """The file of the cache for the statistics; None without a cache."""
    directory = cache_directory()
    name = f"real-{extractor.name}-{dataset.digest[:16]}-{extractor.digest[:16]}-{REVISION}"
    return None if directory is None else directory / f"{name}.safetensors"


def compute_statistics(
    images: Tensor,
    extractor: Extractor,
    device: torch.device | str = "cpu",
    batch_size: int = 500,
    passed: Callable[[int], None] | None = None,
) -> RealStatistics:
    """The statistics of (N, C, H, W) uint8 images, without the cache."""
    F = extractor.num_features
    # On the CPU, because not every device has float64.
    features_sum = torch.zeros(F, dtype=torch.float64)
    outer_sum = torch.zeros(F, F, dtype=torch.float64)
    rows = []
    generator = torch.Generator().manual_seed(ROWS_SEED)
    kept = torch.zeros(len(images), dtype=torch.bool)
    kept[torch.randperm(len(images), generator=generator)[:MAX_ROWS]] = True
    for batch, keep in zip(images.split(batch_size), kept.split(batch_size), strict=True):
        features = extractor(batch.to(device), passed).features.cpu()  # (N, F)
        rows.append(features[keep])
        features = features.double()
        features_sum += features.sum(0)
        outer_sum += features.T @ features
    return RealStatistics(len(images), features_sum, outer_sum, torch.cat(rows))
