"""FID along training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ditbench.errors import DitbenchError, unknown_name
from ditbench.report.figures import labels, panels, published, ranking
from ditbench.report.figures.style import BlockStyle, block_styles, marker_size
from ditbench.report.reading.groups import check_columns
from ditbench.report.statistics.paired import mean_interval

# Values of `--x`: the column, the axis's label, the units.
X_AXES: dict[str, tuple[str, str, panels.Units]] = {
    "steps": ("step", "Training steps", panels.STEPS),
    "flops": ("train_flops", "Training compute", panels.FLOPS),
    "time": ("seconds", "Training time", panels.SECONDS),
}
_HEIGHT = 2.3  # inches of a panel, without its title
_AXES = 1.6  # inches at least, of its axes
_MARKER = 3.0  # points: the side of a square marker
# Seeds are drawn beside their mean if they are few, and so are the blocks.
_MOST_BLOCKS, _MOST_SEEDS = labels.MOST_LINES, 4
# Of fewer seeds, the interval of the mean is wider than all that they show.
_BAND_FROM = 3


def curve_figure(
    df: pd.DataFrame,
    x: str = "steps",
    *,
    paper: bool = False,
    skipped: Callable[[str], object] | None = None,
) -> Figure:
    """Draw FID along training: the mean over seeds with its 95% interval, from three seeds on.

    Seeds are averaged per evaluation: the first with the first, and so on. Under a budget of
    seconds, the seeds have made different numbers of steps by then; x is averaged, too. Nothing
    is interpolated. Up to four seeds of up to six blocks are drawn as thin lines, too.

    Args:
        df: rows of `load_results`; each group of comparable runs gets its own panel.
        x: `steps`, `flops` (training compute) or `time` (training seconds, without evaluation).
        paper: also draw published FIDs, see `published.beside_each`.
        skipped: is called with each group that is left out and why: over time, those whose seconds
            are not comparable. A DitbenchError if all are.
    """
    if x not in X_AXES:
        raise unknown_name("x axis", x, X_AXES)
    check_columns(df)
    groups = panels.groups_to_plot(df[df["curve"]])
    if x == "time" and not (groups := panels.with_comparable_times(groups, skipped)):
        raise DitbenchError(
            "the seconds of these runs are not comparable: they were made on different devices, or "
            "shared a CPU",
            "use --x steps or --x flops",
        )
    titles = [panels.title_of(group, *_own_steps(group.runs)) for group in groups]
    beside_runs, alone = published.beside_each([group.runs for group in groups], paper=paper)
    titles += [published.TITLE] * alone
    styles = block_styles(df["block"])
    blocks = [set(group.runs["block"]) for group in groups]
    beside = all(labels.fit_beside_lines([styles[name].label for name in each]) for each in blocks)
    handles = {style.label: Line2D([], [], **_line(style)) for style in styles.values()}
    handles = ({} if beside else handles) | published.key(beside_runs)
    figure, axes = panels.panel_axes(titles, handles, _HEIGHT)
    for panel, group, published_ones in zip(axes, groups, beside_runs, strict=False):
        _draw_panel(panel, group.runs, x, styles, published_ones, beside=beside)
    axes[0].set_ylabel(f"{axes[0].get_ylabel()}\n({panels.BETTER})")
    if alone:
        ranking.draw_published(axes[-1])
    return figure


def _own_steps(curve: pd.DataFrame) -> list[str]:
    """The sampling steps of a curve, where tables and verdict use others."""
    steps = curve["curve_sampling_steps"]
    return [] if (steps == curve["sampling_steps"]).all() else [f"{steps.iloc[0]} sampling steps"]


def _draw_panel(
    axes: Axes, group: pd.DataFrame, x: str, styles: dict[str, BlockStyle], others: pd.DataFrame,
    *, beside: bool,
) -> None:  # fmt: skip
    """Draw the runs of a group, and the published results in `others` whose x is known."""
    column, label, units = X_AXES[x]
    flops = 3 * 2 * 1e9 * published.IMAGES * others["gmacs"]
    places: dict[str, Any] = {"steps": published.STEPS, "flops": flops}
    others = others.assign(x=places.get(x, np.nan)).dropna()
    label, size = panels.label_with_unit(label, group[column].max(), units)
    group = group.assign(x=group[column] / size)
    others["x"] /= size
    every = pd.concat([group[["x", "fid"]], others[["x", "fid"]]])
    axes.set(xlabel=label, ylabel=panels.metric_label(group), xlim=(0, every["x"].max()))
    panels.set_scale(axes, "y", every["fid"].min(), every["fid"].max())
    published.draw_beside(axes, zip(others.index, others["x"], others["fid"], strict=True))
    if x == "steps":
        panels.count_steps(axes, every["x"].max())
    ends = [
        _draw_block(axes, runs, style, few=group["block"].nunique() <= _MOST_BLOCKS)
        for block, style in styles.items()
        if not (runs := group[group["block"] == block]).empty
    ]
    if beside:
        labels.at_line_ends(axes, ends, _AXES)


def _draw_block(axes: Axes, runs: pd.DataFrame, style: BlockStyle, *, few: bool) -> labels.Named:
    """Draw the runs of a block; its name and where its line ends."""
    # Indexed by the evaluation's number, not its step: steps may differ between seeds.
    runs = runs.sort_values("step")
    runs = runs.assign(number=runs.groupby("seed").cumcount())
    fid = runs.pivot(index="number", columns="seed", values="fid").dropna()
    x = runs.pivot(index="number", columns="seed", values="x").loc[fid.index].mean(axis=1)
    if fid.shape[1] >= _BAND_FROM:
        # Only what can be seen of it: an interval of a mean may go below 0.
        ends = np.clip([mean_interval(row) for row in fid.to_numpy()], *axes.get_ylim())
        alpha = 0.2 if few else 0.08
        axes.fill_between(x, *ends.T, color=style.colour, alpha=alpha, linewidth=0)
    if few and 1 < fid.shape[1] <= _MOST_SEEDS:
        for _, run in runs.groupby("seed"):
            axes.plot(run["x"], run["fid"], color=style.colour, linewidth=0.5, alpha=0.55)
    mean = fid.mean(axis=1)
    axes.plot(x, mean, **_line(style), label=style.label, zorder=3, clip_on=False)
    return labels.Named(style.label, x.iloc[-1], mean.iloc[-1], style.colour)


def _line(style: BlockStyle) -> dict[str, Any]:
    return {
        "color": style.colour, "linestyle": style.line, "marker": style.marker,
        "markersize": _MARKER * marker_size(style.marker),
        "markeredgecolor": "white", "markeredgewidth": 0.4,
    }  # fmt: skip
