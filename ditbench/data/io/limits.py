"""How large images and files may be: checked before memory is allocated."""

from __future__ import annotations

import math
import os

from ditbench.errors import DitbenchError

# Bytes of one file or zip member. An uncompressed RGB image of MAX_SIDE x MAX_SIDE is smaller.
MAX_FILE_BYTES = 64 * 2**20
MAX_SIDE = 4096  # pixels: more are a mistake or a decompression bomb


def too_large(where: str, size: str) -> DitbenchError:
    """The error for an image, or a file, beyond the limits; `size` is what was found."""
    return DitbenchError(
        f"{where} is too large: {size}",
        f"scale it down: images may have up to {MAX_SIDE}x{MAX_SIDE} pixels; pass --image-size N "
        "to read larger ones",
    )


def too_large_for_memory(count: int, shape: tuple[int, ...]) -> bool:
    """Whether uint8 images of one shape do not fit into memory twice: they are copied once."""
    return 2 * count * math.prod(shape) > machine_memory()


def check_memory(where: str, count: int, shape: tuple[int, ...]) -> None:
    """Raise a DitbenchError if images of one uint8 shape (..., H, W) do not fit into memory.

    Small files can expand to any size.
    """
    needed, available = 2 * count * math.prod(shape), machine_memory()
    if too_large_for_memory(count, shape):
        raise DitbenchError(
            f"{where} is too large: {count} images of {shape[-1]}x{shape[-2]} need "
            f"{needed / 2**30:.1f} GiB, this machine has {available / 2**30:.1f} GiB",
            "scale the images down, or use fewer",
        )


def machine_memory() -> int:
    """The machine's memory in bytes; 2**63 where the system does not report it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**63
