"""FID against cost: which blocks no other block beats in both. Never pyplot."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from ditbench.report import paper as published
from ditbench.report.amounts import significant
from ditbench.report.panels import (
    LINE,
    SECONDS,
    WIDTH,
    columns_for,
    fid_label,
    groups_to_plot,
    legend_height,
    outside_legend,
    say_instead,
    set_scale,
    title_of,
    unit_for,
    with_unit,
)
from ditbench.report.reading.groups import devices_differ
from ditbench.report.style import RC, BlockStyle, block_styles, figure_path, marker_size, save

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

GMACS_LABEL = "Forward GMACs\n(the paper's Gflops)"
_HEIGHT = 2.35  # inches of a pair of panels, below its title
_LARGEST = 47.0  # points², the marker of the group's largest model
_IN_LEGEND = 5.0  # points, the side of a square as large as a marker
_GREY = "#8A8A8A"
_ON_FRONT, _DOMINATED = "on the Pareto front", "dominated"


def plot_pareto(
    df: pd.DataFrame,
    output: str | Path,
    paper: bool = False,  # noqa: FBT001 (the command's flag)
) -> None:
    """Draw FID at the end of training against GMACs of a forward pass and against seconds.

    A marker is the mean over seeds, its bars span the seeds, its area is proportional to the
    block's parameters. Filled markers are on the Pareto front of the means (`pareto_front`).
    Where a group's runs were made on different devices, seconds are left out.

    Args:
        df: what `load_results` gives; each group of like runs gets a pair of panels.
        output: a .png (200 dpi), .svg or .pdf file, written whole or not at all.
        paper: add a panel with the published FIDs of DiT-XL/2 (Peebles & Xie 2022, Table 4).

    Raises:
        DitbenchError: an unknown suffix, no runs, or a place that cannot be written.
    """
    import matplotlib as mpl

    path = figure_path(output)
    with mpl.rc_context(RC):
        save(pareto_figure(df, paper), path)


def pareto_front(costs: Sequence[float], fids: Sequence[float]) -> list[bool]:
    """Which points no other point dominates.

    A point dominates another when neither its cost nor its FID is higher and one of them is
    lower; equal points do not dominate each other.
    """
    front = [False] * len(costs)
    cheaper, at_cost, lowest_at_cost = math.inf, -math.inf, math.inf
    for n in sorted(range(len(costs)), key=lambda n: (costs[n], fids[n])):
        if costs[n] > at_cost:
            cheaper = min(cheaper, lowest_at_cost)
            at_cost, lowest_at_cost = costs[n], fids[n]
        front[n] = fids[n] == lowest_at_cost and fids[n] < cheaper
    return front


def pareto_figure(
    df: pd.DataFrame,
    paper: bool = False,  # noqa: FBT001
) -> Figure:
    """The figure that `plot_pareto` writes; make it under `matplotlib.rc_context(style.RC)`."""
    from matplotlib.figure import Figure

    groups = groups_to_plot(df)
    titles = [title_of(group, df) for group in groups] + [published.TITLE] * paper
    names = [*df["block"], *(row.block for row in published.PUBLISHED if paper)]
    styles = block_styles(names)
    columns = columns_for(len(titles))
    rows = -(-len(titles) // columns)
    handles = _legend_handles(styles)
    lines = max(title.count("\n") + 1 for title in titles)
    height = rows * (_HEIGHT + (lines + 1) * LINE) + legend_height(list(handles), WIDTH * columns)
    figure = Figure(figsize=(WIDTH * columns, height), layout="constrained")
    cells = figure.subfigures(rows, columns, squeeze=False).ravel()
    for cell, group, title in zip(cells, groups, titles, strict=False):
        _draw_group(cell, group, styles)
        _set_title(cell, title)
    if paper:
        _draw_paper(cells[len(groups)], styles)
        _set_title(cells[len(groups)], published.TITLE)
    outside_legend(figure, handles, WIDTH * columns, handlelength=1.4)
    return figure


def _set_title(cell: SubFigure, title: str) -> None:
    cell.suptitle(title, x=0.02, ha="left", fontsize=RC["axes.titlesize"])


def _draw_group(cell: SubFigure, group: pd.DataFrame, styles: dict[str, BlockStyle]) -> None:
    left, right = cell.subplots(1, 2)
    points = _points(group)
    left.set_ylabel(fid_label(group).replace(", ", ",\n"))
    left.set_xlabel(GMACS_LABEL)
    _draw_points(left, points, "gmacs", styles)
    if devices_differ(group):
        right.set_xlabel("Measured training\ntime")
        say_instead(right, "Runs on different\ndevices: their seconds\nare not comparable")
    else:
        right.sharey(left)
        right.tick_params(labelleft=False)
        unit, size = unit_for(points["seconds_high"].max(), SECONDS)
        for column in ("seconds", "seconds_low", "seconds_high"):
            points[column] /= size
        right.set_xlabel(with_unit("Measured training\ntime", unit))
        _draw_points(right, points, "seconds", styles)
    _size_key(cell, points["parameters"])


def _draw_paper(cell: SubFigure, styles: dict[str, BlockStyle]) -> None:
    import pandas as pd

    rows = [vars(row) for row in published.PUBLISHED]
    points = pd.DataFrame(rows).set_index("block")
    for column in ("fid", "gmacs"):
        points[f"{column}_low"] = points[f"{column}_high"] = points[column]
    axes = cell.subplots()
    axes.set_ylabel(published.FID_LABEL)
    _draw_points(axes, points, "gmacs", styles)
    axes.set_xlabel(GMACS_LABEL.replace("\n", " "))
    axes.locator_params(axis="x", nbins=4)  # it is as wide as a pair of the others
    _size_key(cell, points["parameters"])


def _points(group: pd.DataFrame) -> pd.DataFrame:
    """One row a block: parameters, and of GMACs, seconds and FID the mean and the seeds' range."""
    final = group[group["final"]].groupby("block")
    return final.agg(
        parameters=("parameters", "first"),
        gmacs=("gmacs", "first"),  # the same for all seeds
        gmacs_low=("gmacs", "first"),
        gmacs_high=("gmacs", "first"),
        seconds=("seconds", "mean"),
        seconds_low=("seconds", "min"),
        seconds_high=("seconds", "max"),
        fid=("fid", "mean"),
        fid_low=("fid", "min"),
        fid_high=("fid", "max"),
    )


def _draw_points(
    axes: Axes, points: pd.DataFrame, cost: str, styles: dict[str, BlockStyle]
) -> None:
    """Points with their ranges and the front below them, the axes' limits first."""
    _set_limits(axes, "x", points[f"{cost}_low"].min(), points[f"{cost}_high"].max())
    _set_limits(axes, "y", points["fid_low"].min(), points["fid_high"].max())
    # Large markers first, so that they cover no small one.
    points = points.sort_values("parameters", ascending=False, kind="stable")
    front = pareto_front(points[cost].tolist(), points["fid"].tolist())
    _draw_front(axes, points[front].sort_values(cost), cost)
    largest = points["parameters"].max()
    for (block, point), is_on_front in zip(points.iterrows(), front, strict=True):
        style = styles[str(block)]
        bars: dict[str, Any] = {"color": style.colour, "linewidth": 0.9, "zorder": 2.5}
        axes.plot([point[cost]] * 2, [point["fid_low"], point["fid_high"]], **bars)
        axes.plot([point[f"{cost}_low"], point[f"{cost}_high"]], [point["fid"]] * 2, **bars)
        axes.scatter(
            point[cost],
            point["fid"],
            s=(marker_size(style.marker) ** 2) * _area(point["parameters"], largest),
            marker=style.marker,
            facecolor=style.colour if is_on_front else "white",
            edgecolor=style.colour,
            linewidth=1.1,
            label=style.label,
            zorder=3,
            clip_on=False,
        )


def _set_limits(axes: Axes, axis: Literal["x", "y"], lowest: float, highest: float) -> None:
    """Limits with room for the largest marker; the front runs to them."""
    if not set_scale(axes, axis, lowest, highest, room=1.5):
        room = 0.16 * (highest - lowest) or 0.1 * abs(highest) or 1.0
        axes.set(**{f"{axis}lim": (lowest - room, highest + room)})
        # Ticks that do not depend on the panel's size: the layout would have to begin again.
        # Across, three labels of seven digits are what a narrow panel holds.
        axes.locator_params(axis=axis, nbins=2 if axis == "x" else 6, steps=[1, 2, 5, 10])


def _draw_front(axes: Axes, front: pd.DataFrame, cost: str) -> None:
    """The lowest FID that is to be had up to a cost: a step line from edge to edge."""
    costs = [front[cost].iloc[0], *front[cost], axes.get_xlim()[1]]
    fids = [axes.get_ylim()[1], *front["fid"], front["fid"].iloc[-1]]
    axes.plot(costs, fids, drawstyle="steps-post", color=_GREY, linewidth=0.8, zorder=2)


def _area(parameters: float, largest: float) -> float:
    """Points², proportional to parameters within a group."""
    return _LARGEST * parameters / largest


def _size_key(cell: SubFigure, parameters: pd.Series[Any]) -> None:
    """The smallest and the largest size, with their millions, below the panels."""
    from matplotlib.lines import Line2D

    largest = parameters.max()
    sizes = {
        f"{significant(3, 0, 1e-6)(value)} M parameters": Line2D(
            [], [], linestyle="none", marker="o", color=_GREY, markeredgewidth=0,
            markersize=marker_size("o") * math.sqrt(_area(value, largest)),
        )
        for value in (parameters.min(), largest)
    }  # fmt: skip
    outside_legend(cell, sizes, WIDTH, "outside lower center", handlelength=1.2)


def _legend_handles(styles: dict[str, BlockStyle]) -> dict[str, Artist]:
    """Blocks, then what filled and hollow markers mean."""
    from matplotlib.lines import Line2D

    handles: dict[str, Artist] = {
        style.label: Line2D([], [], linestyle="none", marker=style.marker, color=style.colour,
                            markersize=_IN_LEGEND * marker_size(style.marker))
        for style in styles.values()
    }  # fmt: skip
    key: dict[str, Any] = {
        "color": _GREY,
        "marker": "o",
        "markersize": _IN_LEGEND * marker_size("o"),
        "linewidth": 0.8,
    }
    handles[_ON_FRONT] = Line2D([], [], **key)
    handles[_DOMINATED] = Line2D([], [], **key | {"linestyle": "none"}, markerfacecolor="white")
    return handles
