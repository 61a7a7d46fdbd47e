"""Decoded pixels, kept for the next time.

The cache only ever saves time: a file that is damaged, foreign or out of date is not used, and a
place that cannot be written means no caching.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import PIL
from safetensors import SafetensorError, safe_open

from ditbench.errors import DitbenchError
from ditbench.files import cache_directory, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from ditbench.data.decode_many import Tree

# Raised when the same files would give other pixels.
REVISION = 1
# More would fill a home directory, unasked for.
MAX_BYTES = 8 * 2**30


@dataclass(frozen=True)
class CacheEntry:
    """The place of some files' pixels in the cache.

    Attributes:
        path: one a folder or zip: when its files change, so do the pixels there.
        key: SHA-256 (hex) over all that the pixels depend on.
    """

    path: Path
    key: str

    def read(self) -> Tensor | None:
        """The pixels, (N, C, H, W) uint8, or None unless they are whole and of these files."""
        try:
            if not self.path.is_file():  # opening a pipe would wait for a writer
                return None
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("key") != self.key:
                    return None
                # A copy: what is read from a file that is mapped could change, or be gone.
                images: Tensor = file.get_tensor("images").clone()
        except (OSError, SafetensorError, TypeError, ValueError, RuntimeError):
            return None
        return images if metadata.get("content") == _digest(images) else None

    def write(self, images: Tensor) -> None:
        """Keep pixels, (N, C, H, W) uint8."""
        if images.nbytes > MAX_BYTES:
            return
        header = _header(images, {"key": self.key, "content": _digest(images)})
        try:
            write_atomically(
                self.path, lambda file: file.writelines([header, images.contiguous().numpy().data])
            )
        except DitbenchError:
            return  # they will be decoded again the next time


def cache_entry(tree: Tree) -> CacheEntry | None:
    """The place of a tree's pixels; None where there is no cache, or a file cannot be looked at.

    To be made before the files are read: of one that changes meanwhile, the pixels are out of date
    at once.
    """
    directory = cache_directory()
    if directory is None:
        return None
    place = str(tree.path.absolute())
    try:
        stamps = tree.files.stamps(tree.names)
    except OSError:
        return None
    facts = json.dumps([REVISION, PIL.__version__, place, list(tree.names), stamps])
    name = hashlib.sha256(place.encode(errors="surrogateescape")).hexdigest()[:16]
    key = hashlib.sha256(facts.encode()).hexdigest()
    return CacheEntry(directory / f"images-{name}.safetensors", key)


def _header(images: Tensor, metadata: dict[str, str]) -> bytes:
    """The beginning of a safetensors file of pixels; its own writer would copy them twice."""
    place = {"dtype": "U8", "shape": list(images.shape), "data_offsets": [0, images.nbytes]}
    text = json.dumps({"__metadata__": metadata, "images": place}).encode()
    text += b" " * (-len(text) % 8)  # so that what follows lies at a multiple of 8
    return len(text).to_bytes(8, "little") + text


def _digest(images: Tensor) -> str:
    """SHA-256 (hex) over type, shape and pixels."""
    sha = hashlib.sha256(repr((images.dtype, tuple(images.shape))).encode())
    sha.update(images.contiguous().numpy().data)
    return sha.hexdigest()
