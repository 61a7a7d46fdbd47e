"""Statistics of the real images, computed once per data set and extractor, and cached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ditbench.data.io.tensors import read_tensors, write_tensors
from ditbench.files import cache_directory

if TYPE_CHECKING:
    from ditbench.data.dataset import ImageDataset
    from ditbench.metrics.extractors import Extractor

REVISION = 1  # raised when the same images and extractor give other statistics
MAX_ROWS = 10_000
ROWS_SEED = 0


@dataclass(frozen=True, eq=False)
class RealStatistics:
    """What the metrics need of the real images, on the CPU.

    FID uses the sums, over all images. KID uses the rows: of a data set with more than 10,000
    images, those of 10,000 drawn with a fixed seed.

    Attributes:
        count: the number of images.
        features_sum: (F,) float64, the sum of the features.
        outer_sum: (F, F) float64, the sum of the features' outer products, not centred.
        rows: (M, F) float32, the features of M = min(count, 10,000) images.
    """

    count: int
    features_sum: Tensor
    outer_sum: Tensor
    rows: Tensor


def real_statistics(
    dataset: ImageDataset,
    extractor: Extractor,
    device: torch.device | str = "cpu",
    batch_size: int = 500,
) -> RealStatistics:
    """The statistics of all images of a data set, from the cache if it has them.

    Args:
        dataset: images that the extractor accepts.
        extractor: on `device`.
        device: where the features are computed. Only float32 rounding depends on it.
        batch_size: images per forward pass.

    Raises:
        DitbenchError: the extractor does not accept the images.
    """
    directory = cache_directory()
    if directory is None:
        return compute_statistics(dataset.images, extractor, device, batch_size)
    key = {"dataset": dataset.digest, "extractor": extractor.digest, "revision": str(REVISION)}
    name = f"real-{extractor.name}-{key['dataset'][:16]}-{key['extractor'][:16]}-{REVISION}"
    path = directory / f"{name}.safetensors"
    if cached := read_tensors(path, key):
        return RealStatistics(int(cached.pop("count")), **cached)
    statistics = compute_statistics(dataset.images, extractor, device, batch_size)
    write_tensors(path, key, {**vars(statistics), "count": torch.tensor(statistics.count)})
    return statistics


def compute_statistics(
    images: Tensor, extractor: Extractor, device: torch.device | str = "cpu", batch_size: int = 500
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
        features = extractor(batch.to(device)).features.cpu()  # (N, F)
        rows.append(features[keep])
        features = features.double()
        features_sum += features.sum(0)
        outer_sum += features.T @ features
    return RealStatistics(len(images), features_sum, outer_sum, torch.cat(rows))
