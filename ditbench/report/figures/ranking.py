"""The final scores of many blocks, sorted, with intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ditbench.amounts import decimals, writer
from ditbench.report.figures import panels, published
from ditbench.report.figures.published import RESULTS
from ditbench.report.figures.style import GREY, RC, BlockStyle, block_styles, marker_size
from ditbench.report.statistics.compare import Comparison, compare
from ditbench.report.statistics.paired import mean_interval
from ditbench.report.words import metric_title

_ROW, _AXIS = 0.165, 0.62  # inches: a block's row, and the axis below the rows
_MARKER = 4.5  # points: the side of a square marker


def ranking_figure(df: pd.DataFrame, *, paper: bool = False) -> Figure:
    """Draw the final score of each block with the 95% interval of its mean, the best at the top.

    The score is that of the verdict: FID, or KID where images are few. Small ticks are single
    seeds. A hollow marker is a block that is significantly worse than the leader, seed by seed: a
    paired comparison finds differences that the intervals of two means do not show.

    Args:
        df: rows of `load_results`; each group of comparable runs gets its own panel.
        paper: also draw published FIDs, see `published.beside_each`.
    """
    groups = panels.groups_to_plot(df)
    found = [(group, compare(group.runs)) for group in groups]
    beside, alone = published.beside_each([group.runs for group in groups], paper=paper)
    titles = [panels.title_of(group) for group in groups] + [published.TITLE] * alone
    worse = any(_significantly_worse(comparison) for _, comparison in found)
    most = max(len(each.table) for _, each in found)
    key = (_key() if worse else {}) | published.key(beside)
    figure, axes = panels.panel_axes(titles, key, _ROW * (most + 1) + _AXIS, handlelength=1.4)
    for panel, (group, comparison), other in zip(axes, found, beside, strict=False):
        _draw_group(panel, group.runs[group.runs["final"]], comparison, other["fid"])
        panel.set_ylim(most - 0.4, -0.6)  # rows of equal height in all panels
    axes[0].set_xlabel(f"{axes[0].get_xlabel()} ({panels.BETTER})")
    if alone:
        draw_published(axes[-1])
    return figure


def _significantly_worse(comparison: Comparison) -> set[str]:
    """The blocks over which the leader is significantly better: all others if it is the winner.

    They are those that the verdict's sentence counts. Where loss spikes alone forbid a winner, the
    blocks that had more of them are not among them.
    """
    verdict = comparison.verdict
    if verdict is None or verdict.exploratory:
        return set()
    unsure = verdict.more_spikes if verdict.best else ()
    found = [each for each in verdict.rivals if verdict.winner or each.significant]
    return {each.block for each in found if each not in unsure}


def _draw_group(
    axes: Axes, final: pd.DataFrame, comparison: Comparison, others: pd.Series[float]
) -> None:
    """Draw the blocks of a group, and in their rows the published FIDs that `others` has."""
    metric = next(each for each in comparison.metrics if each.name == comparison.decided_by)
    by_block = final.groupby("block")[metric.name]
    means = by_block.mean().sort_values(kind="stable")
    title = metric_title(metric.title, None, comparison.group.get("samples"))
    axes.set_xlabel(panels.metric_label(final, title))
    intervals = {block: mean_interval(values.to_numpy()) for block, values in by_block}
    values = [*final[metric.name], *np.ravel([*intervals.values()])]
    others = others[[block in means.index for block in others.index]]
    every = pd.concat([means, others]) if metric.name == "fid" else means
    panels.set_scale(axes, "x", *panels.visible(every, values))
    if metric.name == "fid":
        rows = [list(means.index).index(block) for block in others.index]
        published.draw_beside(axes, zip(others.index, others, rows, strict=True))
    styles = block_styles(means.index)
    _draw_points(axes, means, styles, _significantly_worse(comparison), writer(metric.format))
    for row, block in enumerate(means.index):
        colour = styles[str(block)].colour
        seeds = by_block.get_group(block)
        ticks: dict[str, Any] = {"marker": "|", "markersize": 4, "linestyle": "none"}
        axes.plot(seeds, [row] * len(seeds), color=colour, alpha=0.5, zorder=2, **ticks)
        if np.isfinite(intervals[block]).all():
            ends = np.clip(intervals[block], *axes.get_xlim())
            axes.plot(ends, [row, row], color=colour, linewidth=1.0, zorder=2)


def _draw_points(
    axes: Axes, means: pd.Series[Any], styles: dict[str, BlockStyle], hollow: set[str], text: Any
) -> None:
    """One row per block: its name, its mean as a marker, and as a number at the right."""
    for row, (block, mean) in enumerate(means.items()):
        style = styles[str(block)]
        look: dict[str, Any] = {"marker": style.marker, "color": style.colour, "zorder": 3}
        look |= {"markersize": _MARKER * marker_size(style.marker), "linestyle": "none"}
        if block in hollow:
            look |= {"markerfacecolor": "white"}
        axes.plot(mean, row, label=style.label, clip_on=False, **look)
        axes.annotate(
            text(mean), (1.0, row), (4, 0), xycoords=axes.get_yaxis_transform(),
            textcoords="offset points", va="center_baseline", fontsize=RC["ytick.labelsize"],
        )  # fmt: skip
    axes.set_yticks(range(len(means)), [styles[str(block)].label for block in means.index])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")


def draw_published(axes: Axes) -> None:
    """Draw the published FIDs. Measured ones never share these axes."""
    fids = RESULTS["fid"].sort_values()
    axes.set_xlabel(published.FID_LABEL)
    panels.set_scale(axes, "x", fids.min(), fids.max())
    _draw_points(axes, fids, block_styles(fids.index), set(), decimals(2))
    axes.set_ylim(len(fids) - 0.4, -0.6)


def _key() -> dict[str, Any]:
    look: dict[str, Any] = {"marker": "o", "color": GREY, "linestyle": "none", "markersize": 5}
    return {
        "leads, or is not significantly worse": Line2D([], [], **look),
        "significantly worse": Line2D([], [], markerfacecolor="white", **look),
    }
