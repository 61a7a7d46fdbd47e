"""Many files to pixels, decoded by several processes where that saves time.

What the processes give is only ever a block of pixels. A block that one does not give, because a
file in it is bad or because the process is gone, is decoded here: the pixels, and the error for
the first bad file, are those of a single process.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ditbench.data.archive import shown
from ditbench.data.decode import decode, must_be_alike
from ditbench.data.memory import check_memory
from ditbench.data.workers import Job, decode_blocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ditbench.data.archive import Files

# Less is decoded in less time than it takes to start processes, or to write a cache.
MANY_FILES = 4_000
MANY_BYTES = 64 * 2**20
# What a process decodes before it hands it over: bounds the memory that it takes.
BLOCK_FILES = 256
BLOCK_BYTES = 4 * 2**20
MAX_PROCESSES = 16


class Tree(NamedTuple):
    """Image files in the order in which they are read.

    Attributes:
        path: of the folder or zip.
        files: what is in it, open.
        names: of the images, at least one.
    """

    path: Path
    files: Files
    names: Sequence[str]


def decode_many(tree: Tree, processes: int | None = None) -> NDArray[np.uint8]:
    """The pixels of all images, (N, H, W) or (N, H, W, 3).

    Args:
        tree: the files.
        processes: how many decode; None is one a core where there is much to decode, else this one.

    Raises:
        DitbenchError: for the first bad file in the order of `tree.names`; see `decode`. Or all of
            them together are more than memory holds.
    """
    shape = decode(_where(tree, 0), tree.files.read(tree.names[0])).shape
    count, size = len(tree.names), math.prod(shape)
    check_memory(tree.path, count, shape)
    pixels = np.empty((count, *shape), np.uint8)
    flat = pixels.data.cast("B")
    length = max(1, min(BLOCK_FILES, BLOCK_BYTES // size))  # files of a block
    blocks = [range(start, min(start + length, count)) for start in range(0, count, length)]
    targets = [flat[block.start * size : block.stop * size] for block in blocks]
    if processes is None:
        processes = _cores() if is_much(count, count * size) else 1
    missing: Iterable[int] = range(len(blocks))
    if min(processes, len(blocks)) > 1:
        names = [[tree.names[index] for index in block] for block in blocks]
        job = Job(str(tree.path), shape, names)
        missing = decode_blocks(job, targets, min(processes, len(blocks)))
    for number in missing:
        _decode_block(tree, blocks[number], shape, targets[number])
    return pixels


def is_much(count: int, nbytes: int) -> bool:
    """Whether so many files, of so many bytes of pixels, take seconds to decode."""
    return count >= MANY_FILES or (count > 1 and nbytes >= MANY_BYTES)


def _decode_block(tree: Tree, block: range, shape: tuple[int, ...], target: memoryview) -> None:
    size = math.prod(shape)
    for place, index in enumerate(block):
        image = decode(_where(tree, index), tree.files.read(tree.names[index]))
        must_be_alike(_where(tree, index), image.shape, tree.names[0], shape)
        target[place * size : (place + 1) * size] = image.pixels


def _where(tree: Tree, index: int) -> str:
    return f"{shown(tree.path)}: {shown(tree.names[index])}"


def _cores() -> int:
    """The cores that this process may use, as far as they are worth a process each."""
    try:
        cores = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # a system that does not tell
        cores = os.cpu_count() or 1
    return min(cores, MAX_PROCESSES)
