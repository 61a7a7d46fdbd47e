"""A cache of decoded pixels on disk, so that many files are decoded once.

It only saves time. A cached file that is damaged or out of date is ignored; so is a cache directory
that cannot be written.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import TYPE_CHECKING

import PIL
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ditbench.data.io.decode import decode_all
from ditbench.errors import DitbenchError
from ditbench.files import cache_directory, write_atomically

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
    images = _read(*entry) if entry else None
    if images is None:
        images = torch.from_numpy(decode_all(files, names))
        many = len(images) >= MIN_FILES or (len(images) > 1 and images.nbytes >= MIN_BYTES)
        if entry and many and images.nbytes <= MAX_BYTES:
            _write(*entry, images)
    return images


def _entry(files: Files, names: Sequence[str]) -> tuple[Path, str] | None:
    """The path of a cached file, one per folder or zip, and the key that its content must have.

    The key is the SHA-256 (hex) over all that the pixels depend on. None if there is no cache, or
    if a file cannot be looked at.
    """
    directory = cache_directory()
    if directory is None:
        return None
    try:
        stamps = files.stamps(names)
    except OSError:
        return None
    place = str(files.path.absolute())
    facts = json.dumps([REVISION, PIL.__version__, place, list(names), stamps])
    name = hashlib.sha256(place.encode(errors="surrogateescape")).hexdigest()[:16]
    return directory / f"images-{name}.safetensors", hashlib.sha256(facts.encode()).hexdigest()


def _read(path: Path, key: str) -> Tensor | None:
    """The cached pixels; None unless they belong to `key` and are undamaged."""
    try:
        if not path.is_file():  # opening a pipe waits for a writer
            return None
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("key") != key:
                return None
            # A copy: the mapped file may be replaced or removed later.
            images: Tensor = file.get_tensor("images").clone()
    except (OSError, SafetensorError, TypeError, ValueError, RuntimeError):
        return None
    return images if metadata.get("content") == _digest(images) else None


def _write(path: Path, key: str, images: Tensor) -> None:
    """Replace what is cached at `path`, if the place can be written."""
    data = save({"images": images}, {"key": key, "content": _digest(images)})
    with suppress(DitbenchError):
        write_atomically(path, lambda file: file.write(data))


def _digest(images: Tensor) -> str:
    """SHA-256 (hex) over type, shape and pixels."""
    sha = hashlib.sha256(repr((images.dtype, tuple(images.shape))).encode())
    sha.update(images.numpy().data)
    return sha.hexdigest()
