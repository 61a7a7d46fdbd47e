"""Statistics of the real images, computed once per data set and extractor, and cached."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from ditbench.data.dataset import ImageDataset, quantised
from ditbench.data.io.tensors import read_tensors, write_tensors
from ditbench.data.latents.vae import Vae
from ditbench.data.pictures.streamed import StreamedPictures
from ditbench.files import cache_directory, one_at_a_time
from ditbench.metrics.features.extractors import Extractor
from ditbench.metrics.metric import MAX_SUBSET, RealStatistics, metric_device
from ditbench.metrics.pairs import kth_distances, mean_kernel_within, nearest_other
from ditbench.world import ALONE, World

# What samples are compared with; the last two are made batch by batch.
RealImages: TypeAlias = "ImageDataset | StreamedPictures | RealLatents"

REVISION = 2  # incremented when the same images and extractor give other statistics
MAX_ROWS = 50_000
ROWS_SEED = 0
NEIGHBOURS = 5  # of precision, recall, density and coverage


class RealLatents:
    """The latents of a data set in the range of a model; or the images that a VAE makes of them."""

    def __init__(
        self,
        dataset: ImageDataset,
        device: torch.device,
        vae: Vae | None = None,
        world: World = ALONE,
    ) -> None:
        self.dataset, self.device, self.vae, self.world = dataset, device, vae, world
        self.forget = dataset.forget

    @property
    def images(self) -> RealLatents:
        """The latents, (N, C, h, w) float32; or images, uint8 (N, 3, H, W)."""
        return self

    @property
    def digest(self) -> str:
        """Of the latents and of the VAE."""
        made_by = "" if self.vae is None else self.vae.digest
        return hashlib.sha256(f"{self.dataset.digest} {made_by}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.dataset)

    def split(self, size: int) -> Iterator[Tensor]:
        """The latents, or images, in batches."""
        for index in torch.arange(len(self)).split(size):
            x = read_latents(self.dataset, index).to(self.device)
            yield x if self.vae is None else decoded(x, self.dataset, self.vae, self.world)


def read_latents(dataset: ImageDataset, index: Tensor) -> Tensor:
    """Latents of a data set in the range of a model: float32 (M, C, h, w), on the CPU."""
    stored = torch.empty(len(index), *dataset.images.shape[1:], dtype=dataset.images.dtype)
    dataset.read(index, stored)
    return dataset.to_model(stored)


def decoded(x: Tensor, dataset: ImageDataset, vae: Vae, world: World = ALONE) -> Tensor:
    """The images of latents (N, C, h, w) in the range of a model: uint8 (N, 3, H, W), on device.

    Each process of the world decodes a part of them, and receives all.
    """
    count = len(x)
    world = world.sharing(count)
    images = quantised(vae.decode(x[world.part(count)], dataset.latents))
    return world.gather(images, count)


def real_statistics(
    dataset: RealImages,
    extractor: Extractor,
    device: torch.device | str = "cpu",
    passed: Callable[[int], None] | None = None,
) -> RealStatistics:
    """The statistics of all images, from the cache if it has them.

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


def cached_file(dataset: RealImages, extractor: Extractor) -> Path | None:
    """The file of the cache for the statistics; None without a cache."""
    directory = cache_directory()
    name = f"real-{extractor.name}-{dataset.digest[:16]}-{extractor.digest[:16]}-{REVISION}"
    return None if directory is None else directory / f"{name}.safetensors"


def compute_statistics(
    images: Tensor | StreamedPictures | RealLatents,
    extractor: Extractor,
    device: torch.device | str = "cpu",
    batch_size: int = 500,
    passed: Callable[[int], None] | None = None,
) -> RealStatistics:
    """The statistics of (N, C, H, W) uint8 images, or of latents, without the cache."""
    # On the CPU, because not every device has float64. F is that of the first batch.
    features_sum = outer_sum = torch.zeros((), dtype=torch.float64)
    rows = torch.empty(0)
    order = _drawn(len(images))
    position = torch.full((len(images),), -1)
    position[order] = torch.arange(len(order))
    if isinstance(images, StreamedPictures):  # the extractor looks at a part of each batch
        batches = images.split(batch_size, extractor.world)
    else:
        batches = images.split(batch_size)
    for batch, places in zip(batches, position.split(batch_size), strict=True):
        features = extractor(batch.to(device), passed).features.cpu()  # (N, F)
        if not rows.numel():
            rows = torch.empty(len(order), features.shape[1])
        rows[places[places >= 0]] = features[places >= 0]
        features = features.double()
        features_sum = features_sum + features.sum(0)
        outer_sum = outer_sum + features.T @ features
    exact = rows.to(metric_device(device), torch.float64)
    kernel, nearest = mean_kernel_within(exact).cpu(), nearest_other(exact).cpu()
    radii = kth_distances(exact[:MAX_SUBSET], NEIGHBOURS).cpu()
    return RealStatistics(len(images), features_sum, outer_sum, rows, kernel, nearest, radii)


def _drawn(count: int) -> Tensor:
    """The indices of the rows: the 10,000 of the subset, and then the others, both in order."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(ROWS_SEED))[:MAX_ROWS]
    return torch.cat([order[:MAX_SUBSET].sort().values, order[MAX_SUBSET:].sort().values])
