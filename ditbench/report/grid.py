"""The tiles of a sample grid, found in its picture: torch-free, and whatever drew it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    Image = np.ndarray[Any, Any]  # H x W, or H x W x 3 or 4; 0..1 as `imread` gives it

_WIDEST_GAP = 4


@dataclass(frozen=True)
class _Layout:
    """Tiles of `height` x `width` pixels, `gap` apart, with `lead` before the first, at each axis.

    `trail` pixels follow the last one.
    """

    height: int
    width: int
    gap: int
    lead: int
    trail: int

    def count(self, size: int, tile: int) -> int:
        """How many tiles fill `size` pixels exactly; 0 when none do."""
        tiles, rest = divmod(size - self.lead - self.trail + self.gap, tile + self.gap)
        return tiles if rest == 0 else 0


def first_rows(grid: Image, height: int, width: int, rows: int) -> Image:
    """The first rows of a grid, its tiles at their own size with thin white lines between.

    Args:
        grid: tiles in rows and columns; lines of one colour between, around or after them (or
            none), and tiles enlarged by a whole number (or not).
        height: of a tile, in pixels of the model's input.
        width: of a tile, likewise.
        rows: how many at most.

    Returns:
        The picture; `grid` itself, whole, where its tiles cannot be told.
    """
    import numpy as np

    layout = next(_layouts_of(grid, height, width), None)
    if layout is None:
        return grid
    columns = layout.count(grid.shape[1], layout.width)
    rows = min(rows, layout.count(grid.shape[0], layout.height))
    gap = 1 if width < 32 else 2
    scale = layout.height // height
    if not _is_enlarged(_tile(grid, layout, 0, 0), scale):
        scale = 1  # the decoded picture of a latent is larger than what the model saw
    high, wide = layout.height // scale, layout.width // scale
    shape = (rows * (high + gap) - gap, columns * (wide + gap) - gap, *grid.shape[2:])
    picture = np.ones(shape, grid.dtype)
    for row in range(rows):
        for column in range(columns):
            top, left = row * (high + gap), column * (wide + gap)
            tile = _tile(grid, layout, row, column)[::scale, ::scale]
            picture[top : top + high, left : left + wide] = tile
    return picture


def _tile(grid: Image, layout: _Layout, row: int, column: int) -> Image:
    top = layout.lead + row * (layout.height + layout.gap)
    left = layout.lead + column * (layout.width + layout.gap)
    return grid[top : top + layout.height, left : left + layout.width]


def _layouts_of(grid: Image, height: int, width: int) -> Iterator[_Layout]:
    """The layouts that this grid can have, wider gaps and larger tiles first.

    Sizes alone fit many layouts: the lines between tiles must really be there.
    """
    largest = min(grid.shape[0] // height, grid.shape[1] // width)
    for gap in range(_WIDEST_GAP, -1, -1):
        for scale in range(largest, 0, -1):
            for lead, trail in dict.fromkeys(((gap, gap), (0, gap), (0, 0))):
                layout = _Layout(scale * height, scale * width, gap, lead, trail)
                if not layout.count(grid.shape[0], layout.height):
                    continue
                if not layout.count(grid.shape[1], layout.width):
                    continue
                if _has_lines(grid, layout) if gap else _is_enlarged(grid, scale):
                    yield layout


def _has_lines(grid: Image, layout: _Layout) -> bool:
    """Whether all that lies between the tiles is of one colour, and something does."""
    import numpy as np

    between = [
        (np.arange(size) - layout.lead) % (tile + layout.gap) >= tile
        for size, tile in zip(grid.shape[:2], (layout.height, layout.width), strict=True)
    ]
    lines = grid[between[0][:, None] | between[1][None, :]]
    return len(lines) > 0 and bool((lines == lines[0]).all())


def _is_enlarged(picture: Image, scale: int) -> bool:
    """Whether each pixel is repeated `scale` times, down and across."""
    small = picture[::scale, ::scale]
    return bool((small.repeat(scale, 0).repeat(scale, 1) == picture).all())
