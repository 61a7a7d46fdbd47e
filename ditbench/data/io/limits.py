"""How large the input may be. Every limit is checked before the memory is allocated."""

from __future__ import annotations

import math
import os

from ditbench.errors import DitbenchError

# Bytes of one file or zip member. An uncompressed RGB image of MAX_SIDE x MAX_SIDE is smaller.
MAX_FILE_BYTES = 64 * 2**20
# Pixels. A larger declared size is a mistake or a decompression bomb.
MAX_SIDE = 4096


def too_large(where: str, size: str) -> DitbenchError:
    """The error for an image, or a file, beyond the limits; `size` is what was found."""
    return DitbenchError(
        f"{where} is too large: {size}",
        f"scale it down: images may have up to {MAX_SIDE}x{MAX_SIDE} pixels",
    )


def check_memory(where: str, count: int, shape: tuple[int, ...]) -> None:
    """Check that `count` images fit into memory: small files can expand to any size.

    Args:
        where: the name of the data in an error.
        count: number of images.
        shape: shape of one uint8 image, (C, H, W) or (H, W).

    Raises:
        DitbenchError: the images need more memory than this machine has.
    """
    needed = 2 * count * math.prod(shape)  # twice: they are copied once
    if needed > machine_memory():
        raise DitbenchError(
            f"{where} is too large: {count} images of {shape[-1]}x{shape[-2]} need "
            f"{needed / 2**30:.1f} GiB, this machine has {machine_memory() / 2**30:.1f} GiB",
            "scale the images down, or use fewer",
        )


def machine_memory() -> int:
    """The machine's memory in bytes; 2**63 where the system does not report it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**63
