"""FID against cost, with the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import fill
from typing import Any, Literal

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from ditbench.report.amounts import significant
from ditbench.report.figures import panels, published
from ditbench.report.figures.style import RC, BlockStyle, Marker, block_styles, marker_size
from ditbench.report.reading.groups import why_times_differ

_GMACS_LABEL = "Forward GMACs\n(the paper's Gflops)"
_SECONDS_LABEL = "Measured training\ntime"
_HEIGHT = 2.35  # inches of a pair of panels, without its title
_LARGEST_AREA = 47.0  # points², the marker of a group's largest model
_LEGEND_MARKER = 5.0  # points: the side of a square marker
_GREY = "#8A8A8A"


def pareto_figure(df: pd.DataFrame, *, paper: bool = False) -> Figure:
    """Draw the final FID against the GMACs of a forward pass and against training seconds.

    A marker is the mean over seeds; its bars show the range of the seeds; its area is proportional
    to the block's parameters. Filled markers are on the Pareto front of the means. Seconds are
    left out where those of a group are not comparable: on different devices, or on a shared CPU.

    Args:
        df: rows of `load_results`; each group of comparable runs gets its own pair of panels.
        paper: add a panel with the published FIDs of DiT-XL/2 (Peebles & Xie 2022, Table 4).

    Raises:
        DitbenchError: no runs.
    """
    groups = panels.groups_to_plot(df)
    titles = [panels.title_of(group) for group in groups] + [published.TITLE] * paper
    styles = block_styles([*df["block"], *(published.RESULTS.index if paper else ())])
    handles = _legend_handles(styles)
    figure, rows, columns = panels.panel_grid(titles, handles, _HEIGHT, 1, handlelength=1.4)
    cells = figure.subfigures(rows, columns, squeeze=False).ravel()
    for cell, group in zip(cells, groups, strict=False):
        _draw_group(cell, group.runs, styles)
    if paper:
        _draw_published(cells[len(groups)], styles)
    for cell, title in zip(cells, titles, strict=False):
        cell.suptitle(title, x=0.02, ha="left", fontsize=RC["axes.titlesize"])
    return figure


def pareto_front(costs: Sequence[float], fids: Sequence[float]) -> list[bool]:
    """Whether each point is on the Pareto front: no other point dominates it.

    A point dominates another when neither its cost nor its FID is higher and one of them is
    lower; equal points do not dominate each other.
    """
    points = list(zip(costs, fids, strict=True))
    return [not any(a <= x and b <= y and (a, b) != (x, y) for a, b in points) for x, y in points]


def _draw_group(cell: SubFigure, group: pd.DataFrame, styles: dict[str, BlockStyle]) -> None:
    left, right = cell.subplots(1, 2)
    # One row per block. GMACs are equal for all seeds.
    by_block = group[group["final"]].groupby("block")
    points = by_block[["parameters", "gmacs"]].first()
    points[["seconds", "fid"]] = by_block[["seconds", "fid"]].mean()
    for column in ("gmacs", "seconds", "fid"):
        points[f"{column}_low"] = by_block[column].min()
        points[f"{column}_high"] = by_block[column].max()
    left.set_ylabel(panels.fid_label(group).replace(", ", ",\n"))
    left.set_xlabel(_GMACS_LABEL)
    _draw_points(left, points, "gmacs", styles)
    if why := why_times_differ(group):
        right.set_xlabel(_SECONDS_LABEL)
        panels.write_instead(right, fill(f"{why}: their seconds are not comparable", 22))
    else:
        right.sharey(left)
        right.tick_params(labelleft=False)
        most = points["seconds_high"].max()
        label, size = panels.label_with_unit(_SECONDS_LABEL, most, panels.SECONDS)
        points[["seconds", "seconds_low", "seconds_high"]] /= size
        right.set_xlabel(label)
        _draw_points(right, points, "seconds", styles)
    _add_size_key(cell, points["parameters"])


def _draw_published(cell: SubFigure, styles: dict[str, BlockStyle]) -> None:
    points = published.RESULTS.copy()
    for column in ("fid", "gmacs"):
        points[f"{column}_low"] = points[f"{column}_high"] = points[column]
    axes = cell.subplots()
    axes.set_ylabel(published.FID_LABEL)
    _draw_points(axes, points, "gmacs", styles)
    axes.set_xlabel(_GMACS_LABEL.replace("\n", " "))
    axes.locator_params(axis="x", nbins=4)  # this panel is as wide as two of the others
    _add_size_key(cell, points["parameters"])


def _draw_points(
    axes: Axes, points: pd.DataFrame, cost: str, styles: dict[str, BlockStyle]
) -> None:
    # Limits first: the line of the front runs to them.
    _set_limits(axes, "x", points[f"{cost}_low"].min(), points[f"{cost}_high"].max())
    _set_limits(axes, "y", points["fid_low"].min(), points["fid_high"].max())
    # Large markers first, so that they cover no small one.
    points = points.sort_values("parameters", ascending=False, kind="stable")
    front = pareto_front(points[cost].tolist(), points["fid"].tolist())
    # The lowest FID available up to each cost: a step line from edge to edge.
    best = points[front].sort_values(cost)
    costs = [best[cost].iloc[0], *best[cost], axes.get_xlim()[1]]
    fids = [axes.get_ylim()[1], *best["fid"], best["fid"].iloc[-1]]
    axes.plot(costs, fids, drawstyle="steps-post", color=_GREY, linewidth=0.8, zorder=2)
    largest = points["parameters"].max()
    for (block, point), is_on_front in zip(points.iterrows(), front, strict=True):
        style = styles[str(block)]
        bars: dict[str, Any] = {"color": style.colour, "linewidth": 0.9, "zorder": 2.5}
        axes.plot([point[cost]] * 2, [point["fid_low"], point["fid_high"]], **bars)
        axes.plot([point[f"{cost}_low"], point[f"{cost}_high"]], [point["fid"]] * 2, **bars)
        area = marker_size(style.marker) ** 2 * _LARGEST_AREA * point["parameters"] / largest
        look: dict[str, Any] = {"marker": style.marker, "edgecolor": style.colour, "linewidth": 1.1}
        look["facecolor"] = style.colour if is_on_front else "white"
        place = point[cost], point["fid"]
        axes.scatter(*place, s=area, **look, label=style.label, zorder=3, clip_on=False)


def _set_limits(axes: Axes, axis: Literal["x", "y"], lowest: float, highest: float) -> None:
    """Set limits with room for the largest marker."""
    if not panels.set_log_scale(axes, axis, lowest, highest, room=1.5):
        room = 0.16 * (highest - lowest) or 0.1 * abs(highest) or 1.0
        axes.set(**{f"{axis}lim": (lowest - room, highest + room)})
        # A fixed number of ticks: otherwise it depends on the panel's size, and the layout on it.
        # A narrow panel has room for three labels of seven digits along x.
        axes.locator_params(axis=axis, nbins=2 if axis == "x" else 6, steps=[1, 2, 5, 10])


def _add_size_key(cell: SubFigure, parameters: pd.Series[Any]) -> None:
    """Show below the panels how large the smallest and the largest model are drawn."""
    largest = parameters.max()
    circle: dict[str, Any] = {"marker": "o", "color": _GREY, "linestyle": "none"}
    sizes: dict[str, Artist] = {}
    for value in (parameters.min(), largest):
        size = marker_size("o") * math.sqrt(_LARGEST_AREA * value / largest)
        label = f"{significant(3, 0, 1e-6)(value)} M parameters"
        sizes[label] = Line2D([], [], **circle, markeredgewidth=0, markersize=size)
    panels.add_legend(cell, sizes, panels.WIDTH, "outside lower center", 1.2)


def _legend_handles(styles: dict[str, BlockStyle]) -> dict[str, Artist]:
    """The markers of all blocks, then what filled and hollow markers mean."""

    def handle(marker: Marker, colour: str, **options: Any) -> Artist:
        size = _LEGEND_MARKER * marker_size(marker)
        options = {"linestyle": "none", **options}
        return Line2D([], [], marker=marker, color=colour, markersize=size, **options)

    handles = {style.label: handle(style.marker, style.colour) for style in styles.values()}
    handles["on the Pareto front"] = handle("o", _GREY, linewidth=0.8, linestyle="-")
    handles["dominated"] = handle("o", _GREY, linewidth=0.8, markerfacecolor="white")
    return handles
