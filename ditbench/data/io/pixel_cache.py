"""A cache of decoded pixels on disk, so that many files are decoded once."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import PIL
import torch

from ditbench.data.io.decode import decode_all
from ditbench.data.io.tensors import read_tensors, write_tensors
from ditbench.files import cache_directory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from ditbench.data.io.files import Files

# To be raised when the same files give other pixels than before.
REVISION = 1
# Fewer files, and fewer bytes of pixels, are decoded faster than they are worth caching.
MIN_FILES = 4_000
MIN_BYTES = 64 * 2**20
# More would fill a home directory without being asked.
MAX_BYTES = 8 * 2**30


def load_pixels(files: Files, names: Sequence[str]) -> Tensor:
    """The pixels of all images, (N, C, H, W) uint8; see `decode_all`, whose errors it raises."""
    # Made before the files are read: if one changes meanwhile, the next call decodes again.
    entry = _entry(files, names)
    if entry and (cached := read_tensors(*entry)):
        return cached["images"]
    images = torch.from_numpy(decode_all(files, names))
    many = len(images) >= MIN_FILES or (len(images) > 1 and images.nbytes >= MIN_BYTES)
    if entry and many and images.nbytes <= MAX_BYTES:
        write_tensors(*entry, {"images": images})
    return images


def _entry(files: Files, names: Sequence[str]) -> tuple[Path, dict[str, str]] | None:
    """The path of a cached file, one per folder or zip, and the key that it must have.

    The key is the SHA-256 (hex) over all that the pixels depend on. None if there is no cache, or
    if a file cannot be looked at.
    """
    directory = cache_directory()
    if directory is None:
        return None
    paths = [files.path / name for name in names] if files.path.is_dir() else [files.path]
    try:
        found = [path.stat() for path in paths]
    except OSError:
        return None
    # Programs can set the modification time, but not the time of the last change.
    stamps = [(status.st_size, status.st_mtime_ns, status.st_ctime_ns) for status in found]
    place = str(files.path.absolute())
    facts = json.dumps([REVISION, PIL.__version__, place, list(names), stamps])
    name = hashlib.sha256(place.encode(errors="surrogateescape")).hexdigest()[:16]
    key = {"key": hashlib.sha256(facts.encode()).hexdigest()}
    return directory / f"images-{name}.safetensors", key
