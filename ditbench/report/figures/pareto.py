"""FID against cost, with the Pareto front."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from ditbench.report.amounts import significant
from ditbench.report.figures.panels import (
    SECONDS,
    WIDTH,
    add_legend,
    fid_label,
    groups_to_plot,
    panel_grid,
    set_log_scale,
    title_of,
    unit_for,
    with_unit,
    write_instead,
)
from ditbench.report.figures.published import FID_LABEL, PUBLISHED, TITLE
from ditbench.report.figures.style import RC, BlockStyle, block_styles, marker_size
from ditbench.report.reading.groups import devices_differ

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

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
    left out where the runs of a group were made on different devices.

    Args:
        df: rows of `load_results`; each group of comparable runs gets its own pair of panels.
        paper: add a panel with the published FIDs of DiT-XL/2 (Peebles & Xie 2022, Table 4).

    Raises:
        DitbenchError: no runs.
    """
    groups = groups_to_plot(df)
    titles = [title_of(group) for group in groups] + [TITLE] * paper
    styles = block_styles([*df["block"], *(row.block for row in PUBLISHED if paper)])
    handles = _legend_handles(styles)
    figure, rows, columns = panel_grid(titles, list(handles), _HEIGHT, extra_lines=1)
    cells = figure.subfigures(rows, columns, squeeze=False).ravel()
    for cell, group in zip(cells, groups, strict=False):
        _draw_group(cell, group.runs, styles)
    if paper:
        _draw_published(cells[len(groups)], styles)
    for cell, title in zip(cells, titles, strict=False):
        cell.suptitle(title, x=0.02, ha="left", fontsize=RC["axes.titlesize"])
    add_legend(figure, handles, WIDTH * columns, handlelength=1.4)
    return figure


def pareto_front(costs: Sequence[float], fids: Sequence[float]) -> list[bool]:
    """Whether each point is on the Pareto front: no other point dominates it.

    A point dominates another when neither its cost nor its FID is higher and one of them is
    lower; equal points do not dominate each other.
    """
    points = list(zip(costs, fids, strict=True))
    return [
        not any(cost <= own_cost and fid <= own_fid and (cost, fid) != (own_cost, own_fid)
                for cost, fid in points)
        for own_cost, own_fid in points
    ]  # fmt: skip


def _draw_group(cell: SubFigure, group: pd.DataFrame, styles: dict[str, BlockStyle]) -> None:
    left, right = cell.subplots(1, 2)
    points = _points(group)
    left.set_ylabel(fid_label(group).replace(", ", ",\n"))
    left.set_xlabel(_GMACS_LABEL)
    _draw_points(left, points, "gmacs", styles)
    if devices_differ(group):
        right.set_xlabel(_SECONDS_LABEL)
        write_instead(right, "Runs on different\ndevices: their seconds\nare not comparable")
    else:
        right.sharey(left)
        right.tick_params(labelleft=False)
        unit, size = unit_for(points["seconds_high"].max(), SECONDS)
        for column in ("seconds", "seconds_low", "seconds_high"):
            points[column] /= size
        right.set_xlabel(with_unit(_SECONDS_LABEL, unit))
        _draw_points(right, points, "seconds", styles)
    _add_size_key(cell, points["parameters"])


def _draw_published(cell: SubFigure, styles: dict[str, BlockStyle]) -> None:
    import pandas as pd

    points = pd.DataFrame([vars(row) for row in PUBLISHED]).set_index("block")
    for column in ("fid", "gmacs"):
        points[f"{column}_low"] = points[f"{column}_high"] = points[column]
    axes = cell.subplots()
    axes.set_ylabel(FID_LABEL)
    _draw_points(axes, points, "gmacs", styles)
    axes.set_xlabel(_GMACS_LABEL.replace("\n", " "))
    axes.locator_params(axis="x", nbins=4)  # this panel is as wide as two of the others
    _add_size_key(cell, points["parameters"])


def _points(group: pd.DataFrame) -> pd.DataFrame:
    """One row per block: parameters; the mean and range over seeds of GMACs, seconds and FID."""
    return group[group["final"]].groupby("block").agg(
        parameters=("parameters", "first"),
        gmacs=("gmacs", "first"),  # equal for all seeds
        gmacs_low=("gmacs", "first"),
        gmacs_high=("gmacs", "first"),
        seconds=("seconds", "mean"),
        seconds_low=("seconds", "min"),
        seconds_high=("seconds", "max"),
        fid=("fid", "mean"),
        fid_low=("fid", "min"),
        fid_high=("fid", "max"),
    )  # fmt: skip


def _draw_points(
    axes: Axes, points: pd.DataFrame, cost: str, styles: dict[str, BlockStyle]
) -> None:
    # Limits first: the line of the front runs to them.
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
    """Set limits with room for the largest marker."""
    if not set_log_scale(axes, axis, lowest, highest, room=1.5):
        room = 0.16 * (highest - lowest) or 0.1 * abs(highest) or 1.0
        axes.set(**{f"{axis}lim": (lowest - room, highest + room)})
        # A fixed number of ticks: otherwise it depends on the panel's size, and the layout on it.
        # A narrow panel has room for three labels of seven digits along x.
        axes.locator_params(axis=axis, nbins=2 if axis == "x" else 6, steps=[1, 2, 5, 10])


def _draw_front(axes: Axes, front: pd.DataFrame, cost: str) -> None:
    """Draw the lowest FID available up to each cost: a step line from edge to edge."""
    costs = [front[cost].iloc[0], *front[cost], axes.get_xlim()[1]]
    fids = [axes.get_ylim()[1], *front["fid"], front["fid"].iloc[-1]]
    axes.plot(costs, fids, drawstyle="steps-post", color=_GREY, linewidth=0.8, zorder=2)


def _area(parameters: float, largest: float) -> float:
    """The area of a marker in points², proportional to parameters within a group."""
    return _LARGEST_AREA * parameters / largest


def _add_size_key(cell: SubFigure, parameters: pd.Series[Any]) -> None:
    """Show below the panels how large the smallest and the largest model are drawn."""
    largest = parameters.max()
    sizes = {
        f"{significant(3, 0, 1e-6)(value)} M parameters": _marker(
            marker="o",
            color=_GREY,
            markeredgewidth=0,
            markersize=marker_size("o") * math.sqrt(_area(value, largest)),
        )
        for value in (parameters.min(), largest)
    }
    add_legend(cell, sizes, WIDTH, "outside lower center", handlelength=1.2)


def _legend_handles(styles: dict[str, BlockStyle]) -> dict[str, Artist]:
    """The markers of all blocks, then what filled and hollow markers mean."""
    handles = {
        style.label: _marker(
            marker=style.marker,
            color=style.colour,
            markersize=_LEGEND_MARKER * marker_size(style.marker),
        )
        for style in styles.values()
    }
    grey: dict[str, Any] = {
        "marker": "o",
        "color": _GREY,
        "markersize": _LEGEND_MARKER * marker_size("o"),
        "linewidth": 0.8,
    }
    handles["on the Pareto front"] = _marker(**grey, linestyle="-")
    handles["dominated"] = _marker(**grey, markerfacecolor="white")
    return handles


def _marker(**options: Any) -> Artist:
    from matplotlib.lines import Line2D

    return Line2D([], [], **{"linestyle": "none", **options})
