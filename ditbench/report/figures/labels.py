"""Names beside what they name: at the ends of lines, and next to points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.transforms import Bbox
from scipy.optimize import isotonic_regression

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
        leader = {"arrowstyle": "-", "color": each.colour, "linewidth": 0.6, "relpos": (0, 0.5)}
        if each.x < 0.98 * axes.get_xlim()[1]:
            leader["linestyle"] = ":"  # a solid one would look like more of the line
        axes.annotate(
            each.text, (each.x, each.y), (1 + _LEADER, place), textcoords="axes fraction",
            va="center", fontsize=FONT, color=ink(each.colour),
            arrowprops=leader | {"shrinkA": 0, "shrinkB": 2},
        )  # fmt: skip


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """The places nearest to those wanted (least squares) in the same order, `gap` apart or more."""
    order = np.argsort(wanted, kind="stable")
    # Less its number of gaps, each place must be at least the one before.
    gaps = gap * np.arange(len(order))
    places = np.empty(len(order))
    places[order] = isotonic_regression(np.asarray(wanted)[order] - gaps).x + gaps
    return places.tolist()


# Where a name stands: right or left of its point (1, -1), above or below (1, -1). Best first.
_SIDES = ((1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1))


def beside_points(axes: Axes, points: Sequence[Named], obstacles: Sequence[Bbox]) -> None:
    """Write a name beside each point, where it covers least: other names, then obstacles.

    The layout of the figure must be final. Obstacles are in pixels.
    """
    taken: list[Bbox] = []

    def cost(box: Bbox) -> float:
        outside = box.x0 < axes.bbox.x0 or box.x1 > axes.bbox.x1 or box.y0 < axes.bbox.y0
        return 9 * outside + 5 * box.count_overlaps(taken) + box.count_overlaps(obstacles)

    for point in points:
        boxes = {side: _box(axes, point, side) for side in _SIDES}
        side = min(boxes, key=lambda each: cost(boxes[each]))
        taken.append(boxes[side])
        axes.annotate(
            point.text, (point.x, point.y), _offset(side), textcoords="offset points",
            ha=("center", "left", "right")[side[0]], va=("center", "bottom", "top")[side[1]],
            fontsize=FONT, color=ink(point.colour), zorder=4,
        ).set_in_layout(False)  # fmt: skip


def _offset(side: tuple[int, int]) -> tuple[float, float]:
    """Points between a point and its name."""
    return 5.5 * side[0] if side[1] == 0 else 2.0 * side[0], 5.5 * side[1]


def _box(axes: Axes, point: Named, side: tuple[int, int]) -> Bbox:
    """The pixels that a name covers at one side of its point."""
    dots = axes.figure.dpi
    wide, high = text_width(point.text) * dots, FONT / _POINTS * dots
    x, y = axes.transData.transform((point.x, point.y))
    dx, dy = np.array(_offset(side)) / _POINTS * dots
    left, bottom = x + dx - wide * (1 - side[0]) / 2, y + dy - high * (1 - side[1]) / 2
    return Bbox.from_bounds(left, bottom, wide, high)


def ink(colour: str) -> str:
    """A colour dark enough for text on white: at least 4.5 times the contrast, as in WCAG 2.2."""
    rgb = np.array(to_rgb(colour))
    while 1.05 / (luminance(rgb) + 0.05) < 4.5:
        rgb = rgb * 0.95
    return to_hex(tuple(rgb.tolist()))


def luminance(rgb: np.ndarray[Any, Any]) -> float:
    """The relative luminance of a colour, each in 0..1, as WCAG 2.2 defines it."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))
