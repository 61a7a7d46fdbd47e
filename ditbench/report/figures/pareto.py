"""FID against cost, with the Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from ditbench.report.figures import labels, panels, published
from ditbench.report.figures.published import RESULTS
from ditbench.report.figures.style import GREY, RC, block_styles, marker_size
from ditbench.report.reading.groups import why_times_differ
from ditbench.report.statistics.paired import mean_interval

# The costs: columns, the axes' labels, the units.
_COSTS: tuple[tuple[str, str, panels.Units], ...] = (
    ("gmacs", "Forward pass", panels.GMACS),
    ("seconds", "Measured training time", panels.SECONDS),
)
_HEIGHT = 2.15  # inches of one panel, without its title
_MARKER = 4.5  # points: the side of a square marker
_PALE = 0.35  # opacity of what matters less


def pareto_figure(
    df: pd.DataFrame, *, paper: bool = False, skipped: Callable[[str], object] | None = None
) -> Figure:
    """Draw the final FID against the GMACs of a forward pass and against training seconds.

    A marker is the mean over seeds, its bar the 95% interval of that mean. Blocks on the Pareto
    front of the means are named; the others are pale, and named if all blocks are few. Both axes
    are logarithmic. Seconds are left out where those of a group are not comparable: on different
    devices, or on a shared CPU.

    Args:
        df: rows of `load_results`; each group of comparable runs gets its own pair of panels.
        paper: also draw published FIDs, see `published.beside_each`.
        skipped: is called with each group whose seconds are left out, and why.
    """
    groups = panels.groups_to_plot(df)
    beside, alone = published.beside_each([group.runs for group in groups], paper=paper)
    titles = [panels.title_of(group) for group in groups] + [published.TITLE] * alone
    timed = panels.with_comparable_times(groups, skipped)
    high = _HEIGHT * (2 if timed else 1)
    key = _key() | published.key(beside)
    figure, rows, columns = panels.panel_grid(titles, key, high, handlelength=1.6)
    cells = figure.subfigures(rows, columns, squeeze=False).ravel()
    drawn = []
    for cell, group, other in zip(cells, groups, beside, strict=False):
        label = panels.metric_label(group.runs)
        drawn += _draw_group(cell, _points(group.runs), label, 2 if timed else 1, other)
    if alone:
        points = RESULTS.assign(low=np.nan, high=np.nan)
        drawn += _draw_group(
            cells[len(groups)], points, published.FID_LABEL.replace(" (", "\n("), 2 if timed else 1,
            RESULTS.iloc[:0],
        )  # fmt: skip
    first = drawn[0][0]
    first.set_ylabel(f"{first.get_ylabel()}\n({panels.BETTER})")
    for cell, title in zip(cells, titles, strict=False):
        cell.suptitle(title, x=0.02, ha="left", fontsize=RC["axes.titlesize"])
    figure.draw_without_rendering()  # the layout, among which names find their places
    for axes, points, cost in drawn:
        _name_points(axes, points, cost)
    return figure


def pareto_front(costs: Sequence[float], fids: Sequence[float]) -> list[bool]:
    """Whether each point is on the Pareto front: no other is lower in one and higher in neither."""
    points = list(zip(costs, fids, strict=True))
    return [not any(a <= x and b <= y and (a, b) != (x, y) for a, b in points) for x, y in points]


def _points(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per block: its costs, its mean FID, and the interval of that."""
    by_block = runs[runs["final"]].groupby("block")
    points = by_block[["gmacs", "seconds", "fid"]].mean()
    points[["low", "high"]] = [mean_interval(fid.to_numpy()) for _, fid in by_block["fid"]]
    return points.drop(columns=["seconds"] * bool(why_times_differ(runs)))


def _draw_group(
    cell: SubFigure, points: pd.DataFrame, fid_label: str, rows: int, beside: pd.DataFrame
) -> list[tuple[Axes, pd.DataFrame, str]]:
    """One panel for each known cost, above each other; each with its points and their cost.

    `beside` are published results, drawn in the same axes where the cost is published, too.
    """
    drawn = []
    for number, (cost, label, units) in enumerate(_COSTS):
        if cost not in points:
            continue
        axes = cell.add_subplot(rows, 1, number + 1)
        label, size = panels.label_with_unit(label, points[cost].max(), units)
        scaled = points.assign(**{cost: points[cost] / size})
        axes.set(xlabel=label, ylabel=fid_label)
        others = beside.assign(**{cost: beside[cost] / size}) if cost in beside else beside.iloc[:0]
        _draw_points(axes, scaled, cost, others)
        drawn.append((axes, scaled, cost))
    return drawn


def _draw_points(axes: Axes, points: pd.DataFrame, cost: str, beside: pd.DataFrame) -> None:
    # Limits first: the line of the front runs to them.
    every = pd.concat([points, beside])
    panels.set_scale(axes, "x", every[cost].min(), every[cost].max(), room=0.2, log=True)
    ends = points[["low", "high"]].to_numpy().ravel()
    panels.set_scale(axes, "y", *panels.visible(every["fid"], ends), room=0.1, log=True)
    published.draw_beside(axes, zip(beside.index, beside.get(cost, ()), beside["fid"], strict=True))
    front = pareto_front(points[cost].tolist(), points["fid"].tolist())
    axes.plot(*_front_line(axes, points[front], cost), color=GREY, linewidth=0.8, zorder=1.5)
    styles = block_styles(points.index)
    for (block, point), is_on_front in zip(points.iterrows(), front, strict=True):
        style, over = styles[str(block)], 3 if is_on_front else 2.5
        look: dict[str, Any] = {"color": style.colour, "alpha": 1 if is_on_front else _PALE}
        if np.isfinite(point["low"]):
            ends = np.clip([point["low"], point["high"]], *axes.get_ylim())
            axes.plot([point[cost]] * 2, ends, linewidth=0.9, zorder=over - 1, **look)
        look |= {"marker": style.marker, "markersize": _MARKER * marker_size(style.marker)}
        axes.plot(point[cost], point["fid"], label=style.label, zorder=over, clip_on=False, **look)


def _front_line(axes: Axes, front: pd.DataFrame, cost: str) -> tuple[Any, Any]:
    """The lowest FID available up to each cost: the corners of a line from edge to edge."""
    best = front.sort_values(cost)
    costs = np.repeat(best[cost].to_numpy(), 2)
    fids = np.repeat(best["fid"].to_numpy(), 2)
    return [*costs, axes.get_xlim()[1]], [axes.get_ylim()[1], *fids]


def _name_points(axes: Axes, points: pd.DataFrame, cost: str) -> None:
    """Names of the blocks on the front, and of the others if all are few."""
    styles = block_styles(points.index)
    front = np.array(pareto_front(points[cost].tolist(), points["fid"].tolist()))
    few = len(points) <= labels.MOST_LINES
    named = [
        labels.Named(styles[block].label, x, y, styles[block].colour if on_front else GREY)
        for on_front in ((True, False) if few else (True,))
        for block, x, y in points.loc[front == on_front, [cost, "fid"]].itertuples()
    ]
    at = axes.transData.transform(points[[cost, "fid"]].to_numpy())
    half = _MARKER / 2 / 72 * axes.figure.dpi
    obstacles = [Bbox.from_extents(x - half, y - half, x + half, y + half) for x, y in at]
    line = axes.transData.transform(np.transpose(_front_line(axes, points[front], cost)))
    obstacles += [Bbox([start, end]) for start, end in pairwise(line)]
    labels.beside_points(axes, named, obstacles)


def _key() -> dict[str, Artist]:
    """What full and pale markers mean."""
    look: dict[str, Any] = {
        "color": GREY, "linewidth": 0.8, "marker": "o", "markersize": _MARKER * marker_size("o"),
    }  # fmt: skip
    pale = look | {"alpha": _PALE, "linestyle": "none"}
    return {"on the Pareto front": Line2D([], [], **look), "dominated": Line2D([], [], **pale)}
