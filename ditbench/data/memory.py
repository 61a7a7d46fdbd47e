"""Whether images fit into memory, judged before any is asked for."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from ditbench.data.archive import shown
from ditbench.errors import DitbenchError

if TYPE_CHECKING:
    from pathlib import Path


def check_memory(path: Path, count: int, shape: tuple[int, ...]) -> None:
    """Refuse what cannot be held: small files can unfold to images of any size, many times over.

    Args:
        path: where the images lie, for the error.
        count: of the images.
        shape: of one, (H, W) or (H, W, C), a byte a number.

    Raises:
        DitbenchError: they take more than this machine has.
    """
    needed = 2 * count * math.prod(shape)  # once more while the channels are brought to the front
    if needed > machine_memory():
        raise DitbenchError(
            f"{shown(path)} is too large: {count} images of {shape[1]}x{shape[0]} take "
            f"{needed / 2**30:.1f} GiB, this machine has {machine_memory() / 2**30:.1f}",
            "scale the images down, or use fewer",
        )


def machine_memory() -> int:
    """The bytes of memory that the machine has."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # a system that does not tell
        return 2**63
