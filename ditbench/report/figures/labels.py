"""Names beside what they name: at the ends of lines, and next to points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.transforms import Bbox

from ditbench.report.figures.style import FONT, text_width

# More lines, or longer names (inches), have a legend.
MOST_LINES = 6
_WIDEST = 1.1
_LEADER = 0.05  # of the width of the axes, between the last point and its name
_POINTS = 72.0  # per inch


class Named(NamedTuple):
    """A name and the data coordinates of what it names."""

    text: str
    x: float
    y: float
    colour: str


def fit_beside_lines(names: Sequence[str]) -> bool:
    """Whether names fit at the ends of their lines."""
    return len(names) <= MOST_LINES and all(text_width(name) <= _WIDEST for name in names)


def at_line_ends(axes: Axes, ends: Sequence[Named], height: float) -> None:
    """Write names at the right of axes that are `height` inches high, each beside its line's end.

    The limits and scales of the axes must be final. Names that would overlap are moved apart.
    """
    wanted = [axes.transScale.transform((each.x, each.y))[1] for each in ends]
    low, high = (axes.transScale.transform((1, y))[1] for y in axes.get_ylim())
    places = spread([(y - low) / (high - low) for y in wanted], 1.1 * FONT / _POINTS / height)
    for each, place in zip(ends, places, strict=True):
        ends_early = each.x < 0.98 * axes.get_xlim()[1]
        axes.annotate(
            each.text,
            (each.x, each.y),
            (1 + _LEADER, place),
            textcoords="axes fraction",
            va="center",
            fontsize=FONT,
            color=ink(each.colour),
            arrowprops={
                **{"arrowstyle": "-", "color": each.colour, "linewidth": 0.6},
                "linestyle": ":" if ends_early else "-",  # it would look like more of the line
                **{"shrinkA": 0, "shrinkB": 2, "relpos": (0, 0.5)},
            },
        )


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """The places nearest to those wanted (least squares) in the same order, `gap` apart or more."""
    order = np.argsort(wanted, kind="stable")
    # Less its number of gaps, each place must be at least the one before: isotonic regression.
    blocks: list[list[float]] = []
    for number, each in enumerate(order):
        blocks.append([wanted[each] - number * gap])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    means = [float(np.mean(block)) for block in blocks for _ in block]
    places = [0.0] * len(wanted)
    for number, each in enumerate(order):
        places[each] = means[number] + number * gap
    return places


def beside_points(axes: Axes, points: Sequence[Named], obstacles: Sequence[Bbox]) -> None:
    """Write a name beside each point, where it covers least: other names, then obstacles.

    The layout of the figure must be final. Obstacles are in pixels.
    """
    size = axes.figure.dpi / _POINTS  # pixels of a point
    taken: list[Bbox] = []
    for point in points:
        x, y = axes.transData.transform((point.x, point.y))
        wide, high = text_width(point.text) * _POINTS * size, FONT * size

        def box(
            side: tuple[int, int], x: float = x, y: float = y, wide: float = wide, high: float = high
        ) -> Bbox:
            dx, dy = _offset(side)
            left, bottom = x + dx * size - wide * (1 - side[0]) / 2, y + dy * size
            return Bbox.from_bounds(left, bottom - high * (1 - side[1]) / 2, wide, high)

        side = min(_SIDES, key=_cost(box, taken, obstacles, axes.bbox))
        taken.append(box(side))
        axes.annotate(
            point.text,
            (point.x, point.y),
            _offset(side),
            textcoords="offset points",
            ha=("right", "center", "left")[side[0] + 1],
            va=("top", "center", "bottom")[side[1] + 1],
            fontsize=FONT,
            color=ink(point.colour),
            zorder=4,
        ).set_in_layout(False)


# Where a name stands: right or left of its point (1, -1), above or below (1, -1). Best first.
_SIDES = ((1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1))


def _offset(side: tuple[int, int]) -> tuple[float, float]:
    """Points between a point and its name."""
    return 5.5 * side[0] if side[1] == 0 else 2.0 * side[0], 5.5 * side[1]


def _cost(
    box: Callable[[Any], Bbox], names: Sequence[Bbox], obstacles: Sequence[Bbox], axes: Bbox
) -> Callable[[tuple[int, int]], float]:
    def cost(side: tuple[int, int]) -> float:
        found = box(side)
        outside = found.x0 < axes.x0 or found.x1 > axes.x1 or found.y0 < axes.y0
        over = found.count_overlaps(list(obstacles)) if obstacles else 0
        return 9.0 * outside + 5.0 * (found.count_overlaps(names) if names else 0) + over

    return cost


def ink(colour: str) -> str:
    """A colour dark enough for text on white: at least 4.5 times the contrast, as in WCAG 2.2."""
    rgb = np.array(to_rgb(colour))
    while 1.05 / (_luminance(rgb) + 0.05) < 4.5:
        rgb = rgb * 0.95
    return to_hex(rgb)


def _luminance(rgb: np.ndarray[Any, Any]) -> float:
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))
