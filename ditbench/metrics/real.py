"""Statistics of the real images, computed once for a data set and an extractor, and cached.

The cache lies in `~/.cache/ditbench` (`XDG_CACHE_HOME` and `DITBENCH_CACHE` move it). It only ever
saves time: a file that is damaged, foreign or out of date is computed again, and a place that
cannot be written means no caching.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ditbench.errors import DitbenchError
from ditbench.files import cache_directory, write_atomically
from ditbench.metrics.extractors import digest_of

if TYPE_CHECKING:
    from pathlib import Path

    from ditbench.metrics.extractors import Extractor, LabelledImages

# Raised when the same images and extractor would give other statistics.
REVISION = 1
KID_ROWS = 10_000
KID_ROWS_SEED = 0


@dataclass(frozen=True, eq=False)
class RealStatistics:
    """What FID and KID need of the real images, on the CPU.

    Attributes:
        count: the number of images.
        features_sum: (F,) float64, the sum of the features.
        outer_sum: (F, F) float64, the sum of the features' outer products, not centred.
        rows: (M, F) float32, the features of at most `KID_ROWS` images, drawn with a fixed seed.
    """

    count: int
    features_sum: Tensor
    outer_sum: Tensor
    rows: Tensor


def real_statistics(
    dataset: LabelledImages,
    extractor: Extractor,
    device: torch.device | str = "cpu",
    batch_size: int = 500,
    *,
    cache: bool = True,
) -> RealStatistics:
    """The statistics of all images of a data set, from the cache where it holds them.

    Args:
        dataset: images that fit the extractor.
        extractor: already on `device`.
        device: where the features are computed; float32 rounding is all that depends on it.
        batch_size: images a forward pass.
        cache: False neither reads nor writes the cache.

    Raises:
        DitbenchError: the images do not fit the extractor.
    """
    key = {"dataset": dataset.digest, "extractor": extractor.digest, "revision": str(REVISION)}
    directory = cache_directory() if cache else None
    if directory is None:
        return compute_statistics(dataset.images, extractor, device, batch_size)
    name = f"real-{extractor.name}-{key['dataset'][:16]}-{key['extractor'][:16]}-{REVISION}"
    path = directory / f"{name}.safetensors"
    known = _read(path, key)
    if known is None:
        known = compute_statistics(dataset.images, extractor, device, batch_size)
        _write(path, key, known)
    return known


def compute_statistics(
    images: Tensor, extractor: Extractor, device: torch.device | str = "cpu", batch_size: int = 500
) -> RealStatistics:
    """The statistics of (N, C, H, W) uint8 images; knows nothing of the cache."""
    F = extractor.num_features
    # On the CPU, because float64 is not to be had on every device.
    features_sum = torch.zeros(F, dtype=torch.float64)
    outer_sum = torch.zeros(F, F, dtype=torch.float64)
    rows = []
    generator = torch.Generator().manual_seed(KID_ROWS_SEED)
    kept = torch.zeros(len(images), dtype=torch.bool)
    kept[torch.randperm(len(images), generator=generator)[:KID_ROWS]] = True
    for batch, keep in zip(
        torch.split(images, batch_size), torch.split(kept, batch_size), strict=True
    ):
        features = extractor(batch.to(device)).features.cpu()  # (N, F)
        rows.append(features[keep])
        features = features.double()
        features_sum += features.sum(0)
        outer_sum += features.T @ features
    return RealStatistics(len(images), features_sum, outer_sum, torch.cat(rows))


def _read(path: Path, key: dict[str, str]) -> RealStatistics | None:
    """The statistics in a file, or None unless they are whole and those asked for."""
    try:
        if not path.is_file():  # opening a pipe would wait for a writer
            return None
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        content = metadata.pop("content")
        if metadata != key or content != digest_of(tensors):
            return None
        return RealStatistics(int(tensors.pop("count")), **tensors)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError):
        return None


def _write(path: Path, key: dict[str, str], real: RealStatistics) -> None:
    tensors = {
        "count": torch.tensor(real.count),
        "features_sum": real.features_sum,
        "outer_sum": real.outer_sum,
        "rows": real.rows,
    }
    data = safetensors.torch.save(tensors, {**key, "content": digest_of(tensors)})
    try:
        write_atomically(path, lambda file: file.write(data))
    except DitbenchError:
        return  # it will be computed again the next time
