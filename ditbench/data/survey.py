"""What a fast look at pictures finds: headers are read, pixels are not. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Survey:
    """The facts of a data set from which settings are derived."""

    name: str  # of the folder or file without its suffix, or of the data set
    source: str  # `data.name`: folder, npz, or the name of a published data set
    path: Path | None  # `data.path`
    images: int  # readable pictures to train on
    classes: Mapping[str, int]  # pictures per class, in the order of the labels; one if flat
    channels: int  # 1 if every picture is grey, else 3
    sizes: Mapping[tuple[int, int], int]  # (width, height) as shown -> pictures of that size
    held_out: int = 0  # readable pictures that are not trained on
    modes: Mapping[str, int] = field(default_factory=dict)  # Pillow's mode -> pictures
    notes: tuple[str, ...] = ()  # one line per kind of what will be converted or left out
    problems: tuple[str, ...] = ()  # one line each: what keeps a run from starting

    @property
    def shorter_side(self) -> int:
        """The median of the shorter sides, in pixels; the lower one of two."""
        sides = sorted((min(size), count) for size, count in self.sizes.items())
        left = (sum(count for _, count in sides) + 1) // 2
        for side, count in sides:
            left -= count
            if left <= 0:
                return side
        return 0

    @property
    def common_size(self) -> tuple[int, int] | None:
        """The width and height of all pictures, if they have one size."""
        return next(iter(self.sizes)) if len(self.sizes) == 1 else None


def survey(path: Path) -> Survey:
    """Look at a folder, a zip, an .npz, or a published data set by its name.

    Raises:
        DitbenchError: there is nothing to look at: no such path or name, not a zip, no pictures.
    """
    raise NotImplementedError
