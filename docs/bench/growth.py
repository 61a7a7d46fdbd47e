"""A figure of how the time of a step grows with its FLOPs, from a table of `ditbench bench`.

python docs/bench/growth.py docs/bench/growth.json -o docs/figures/growth.png
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from figure import main
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ditbench.errors import DitbenchError
from ditbench.models.sizes import parse_input, parse_model
from ditbench.report.figures.labels import ink
from ditbench.report.figures.panels import FLOPS, label_with_unit, panel_grid, set_scale
from ditbench.report.figures.style import FONT, GREY, LATER_BLOCKS, PAPER_BLOCKS, BlockStyle

Row = dict[str, Any]
WORDS = {
    "tokens": ("Tokens per image", "T"),
    "width": ("Width", "D"),
    "depth": ("Depth", "L"),
    "batch": ("Batch size", "B"),
}
# Lines of equal shares of the speed of the matrix product.
SHARES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
HEIGHT = 2.4  # inches of a panel


class Size(NamedTuple):
    """What grows: tokens per image, width, depth and batch size."""

    tokens: int
    width: int
    depth: int
    batch: int

    @classmethod
    def of(cls, row: Row) -> Size:
        """The size that a row is of."""
        size, (height, width, _) = parse_model(row["model"]), parse_input(row["input"])
        tokens = height * width // size.patch_size**2
        return cls(tokens, size.hidden_size, size.depth, row["batch_size"])

    def differs_in(self, other: Size) -> list[str]:
        """The quantities that differ."""
        return [name for name in WORDS if getattr(self, name) != getattr(other, name)]


def sweeps(rows: Sequence[Row]) -> tuple[Size, dict[str, list[Row]]]:
    """The central size, and for each quantity the rows that differ from it in nothing else.

    The central size is that of which most sizes differ in one quantity. Rows ascend.
    """
    sizes = dict.fromkeys(map(Size.of, rows))
    centre = max(sizes, key=lambda size: sum(len(size.differs_in(each)) == 1 for each in sizes))
    found: dict[str, list[Row]] = {}
    for name in WORDS:
        own = [row for row in rows if set(centre.differs_in(Size.of(row))) <= {name}]
        if len({Size.of(row) for row in own}) > 1:
            found[name] = sorted(own, key=Size.of)
    return centre, found


def draw(rows: Sequence[Row]) -> Figure:
    """One panel for each quantity that varies, one line for each implementation."""
    names = list(dict.fromkeys(map(_name, rows)))
    looks = dict(
        zip(names, (*reversed(PAPER_BLOCKS.values()), *LATER_BLOCKS.values()), strict=False)
    )
    handles = {
        name: Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.line)
        for name, look in looks.items()
    }
    centre, panels = sweeps(rows)
    if not panels:
        raise DitbenchError("no two rows differ in one quantity alone", "see docs/bench.md")
    figure, down, across = panel_grid(["title"] * len(panels), handles, HEIGHT)
    matmul = 1e12 * median(row["matmul_tflops_per_second"] for row in rows)
    for number, (quantity, found) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(down, across, number)
        fixed = [f"{WORDS[name][1]} {getattr(centre, name)}" for name in WORDS if name != quantity]
        title = f"{' '.join(WORDS[quantity])} ({', '.join(fixed)})"
        axes.set_title(title, pad=12)  # above the names of lines
        _panel(axes, quantity, found, looks, matmul)
    return figure


def _name(row: Row) -> str:
    ours = row["implementation"].startswith("ditbench")
    return f"{row['block']}, {row['backend']}" if ours else row["block"]


def _panel(
    axes: Axes, quantity: str, rows: Sequence[Row], looks: Mapping[str, BlockStyle], matmul: float
) -> None:
    label, unit = label_with_unit(
        "Compute of a step", max(row["train_flops_per_step"] for row in rows), FLOPS
    )
    axes.set(xlabel=label, ylabel="Step (ms)")
    points = [(row["train_flops_per_step"] / unit, row["step_ms_median"]) for row in rows]
    for axis, values in (("x", [x for x, _ in points]), ("y", [y for _, y in points])):
        set_scale(axes, axis, min(values), max(values), room=0.1, log=True)
    for name, look in looks.items():
        own = [(point, row) for point, row in zip(points, rows, strict=True) if _name(row) == name]
        line, style = [point for point, _ in own], {"color": look.colour, "linestyle": look.line}
        axes.plot(*zip(*line, strict=True), marker=look.marker, markersize=4, **style)
    _name_values(axes, quantity, dict(zip(points, rows, strict=True)))
    speed = matmul / unit / 1e3
    _draw_shares(axes, speed, min(x / y for x, y in points) / speed)


def _name_values(axes: Axes, quantity: str, rows: Mapping[tuple[float, float], Row]) -> None:
    """Write each value of a quantity above the slowest step of that size."""
    highest = {getattr(Size.of(rows[point]), quantity): point for point in sorted(rows)}
    for value, point in highest.items():
        text = axes.annotate(
            str(value), point, (-2, 4), textcoords="offset points", ha="right", fontsize=FONT
        )
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # above grey lines


def _draw_shares(axes: Axes, speed: float, least: float) -> None:
    """Lines on which a step has an equal share of a speed, in FLOPs of the axis per millisecond.

    They are named at their upper ends, down to the first at or below the share `least`.
    """
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    axes.autoscale(enable=False)
    for share in SHARES:
        end = min(right, high * share * speed)
        if right > low * share * speed and end > left:
            line = [left, end], [left / (share * speed), end / (share * speed)]
            axes.plot(*line, color=GREY, linewidth=0.6, zorder=1)
            place = {"textcoords": "offset points", "annotation_clip": False}
            axes.annotate(
                f"{share:.0%}", (end, line[1][1]), (1, 1), fontsize=FONT, color=ink(GREY), **place
            )
        if share <= least:
            return


if __name__ == "__main__":
    sys.exit(main(draw))
