"""Decoded pixels cached on disk. A cache only saves time: no fault of what it holds is an error.

An entry is two files: `prepared-<name>.npy`, uint8 (N, C, H, W), and `prepared-<name>.json`, which
says what it was made from, and is written last.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from torch import Tensor

from ditbench.data.dataset import ImageDataset
from ditbench.data.io.limits import too_large_for_memory
from ditbench.data.mapped import MappedFile
from ditbench.errors import DitbenchError
from ditbench.files import cache_directory, read_json, write_atomically, write_json

REVISION = 2  # incremented when the same files give other pixels than before
# For fewer files, fewer bytes of pixels and less time, a cache saves too little.
MIN_FILES = 4_000
MIN_BYTES = 64 * 2**20
MIN_SECONDS = 5.0
MAX_BYTES = 8 * 2**30  # a larger cache could fill a home directory


@dataclass(frozen=True)
class Entry:
    """Where pixels are cached, and a SHA-256 over what they depend on."""

    path: Path
    key: str

    @staticmethod
    def of(place: Sequence[Any], names: Sequence[str], stamps: Sequence[object]) -> Entry | None:
        """The entry of a place: a path and how pictures are read there; None without a cache.

        `stamps` change when a picture does.
        """
        directory = cache_directory()
        if directory is None:
            return None
        facts = json.dumps([REVISION, PIL.__version__, place, names, stamps])
        name = hashlib.sha256(json.dumps(place).encode()).hexdigest()[:16]
        key = hashlib.sha256(facts.encode()).hexdigest()
        return Entry(directory / f"prepared-{name}.npy", key)

    def read(self, build: Callable[..., ImageDataset]) -> ImageDataset | None:
        """The data set that `build` makes of what is cached; None unless it is the one written."""
        try:
            facts = self.path.with_suffix(".json")
            if not (facts.is_file() and self.path.is_file()):  # opening a pipe waits for a writer
                return None
            record = read_json(facts)
            if record["key"] != self.key:
                return None
            found = build(*open_pixels(self.path), **record["facts"])
            return found if found.digest == record["digest"] else None
        except (OSError, DitbenchError, ValueError, KeyError, TypeError, IndexError, EOFError):
            return None

    def write(self, dataset: ImageDataset, facts: dict[str, Any]) -> None:
        """Cache a data set that `build` makes of its pixels and the facts; else a DitbenchError."""
        record = {"key": self.key, "digest": dataset.digest, "facts": facts}
        if dataset.file is None:
            write_atomically(self.path, lambda file: np.save(file, dataset.images.numpy()))
        write_json(self.path.with_suffix(".json"), record)


def worth_it(images: Tensor, seconds: float) -> bool:
    """Whether images that took so long to decode are cached."""
    many = len(images) >= MIN_FILES or (len(images) > 1 and images.nbytes >= MIN_BYTES)
    return (many or seconds >= MIN_SECONDS) and images.nbytes <= MAX_BYTES


def open_pixels(path: Path) -> tuple[Tensor, MappedFile | None]:
    """The pixels of a `MappedFile`, uint8 (N, C, H, W): in memory, or mapped if that is small."""
    file = MappedFile(path)
    if too_large_for_memory(len(file.tensor), tuple(file.tensor.shape[1:])):
        return file.tensor, file
    return torch.from_numpy(np.load(path, allow_pickle=False)), None
