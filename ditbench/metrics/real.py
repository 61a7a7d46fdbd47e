"""Statistics of the real images, computed once per data set and extractor, and cached."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ditbench.data.io.tensors import read_tensors, write_tensors
from ditbench.files import cache_directory, one_at_a_time
from ditbench.metrics.metric import MAX_SUBSET, RealStatistics, metric_device
from ditbench.metrics.pairs import kth_distances, mean_kernel_within, nearest_other

if TYPE_CHECKING:
    from ditbench.data.dataset import ImageDataset
    from ditbench.metrics.features.extractors import Extractor

REVISION = 2  # incremented when the same images and extractor give other statistics
MAX_ROWS = 50_000
ROWS_SEED = 0
NEIGHBOURS = 5  # of precision, recall, density and coverage


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
    # The processes that wait here then read the cache.
    with one_at_a_time(path.with_suffix(".lock")) if extractor.world.first else nullcontext():
        cached = read_tensors(path, key)
        # Either all processes of the world compute them together, or none does.
        if extractor.world.all(cached is not None) and cached is not None:
            return RealStatistics(int(cached.pop("count")), **cached)
        statistics = compute_statistics(dataset.images, extractor, device, passed=passed)
        dataset.forget()
        if extractor.world.first:
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
    order = _drawn(len(images))
    position = torch.full((len(images),), -1)
    position[order] = torch.arange(len(order))
    rows = torch.empty(len(order), F)
    for batch, places in zip(images.split(batch_size), position.split(batch_size), strict=True):
        features = extractor(batch.to(device), passed).features.cpu()  # (N, F)
        rows[places[places >= 0]] = features[places >= 0]
        features = features.double()
        features_sum += features.sum(0)
        outer_sum += features.T @ features
    exact = rows.to(metric_device(device), torch.float64)
    return RealStatistics(
        len(images),
        features_sum,
        outer_sum,
        rows,
        mean_kernel_within(exact).cpu(),
        nearest_other(exact).cpu(),
        kth_distances(exact[:MAX_SUBSET], NEIGHBOURS).cpu(),
    )


def _drawn(count: int) -> Tensor:
    """The indices of the rows: the 10,000 of the subset, and then the others, both in order."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(ROWS_SEED))[:MAX_ROWS]
    return torch.cat([order[:MAX_SUBSET].sort().values, order[MAX_SUBSET:].sort().values])
