"""Results to figures that one would put in a paper. Matplotlib's objects only, never pyplot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ditbench.errors import DitbenchError, unknown_name
from ditbench.report.compare import describe, shared, split_groups, suffix
from ditbench.report.gallery import plot_samples
from ditbench.report.style import RC, block_style, figure_path, in_order, save, wrap

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["curves_figure", "plot_curves", "plot_samples"]

# What may stand on the x axis: the column, and its unit with the sizes in which it is counted.
X_AXES: dict[str, tuple[str, str, tuple[tuple[float, str], ...]]] = {
    "steps": ("step", "Training steps", ((1e6, "millions"), (1e4, "thousands"), (0, ""))),
    "flops": (
        "train_flops",
        "Training compute",
        ((1e18, "EFLOPs"), (1e15, "PFLOPs"), (1e12, "TFLOPs"), (0, "GFLOPs")),
    ),
    "time": ("seconds", "Training time", ((7200, "hours"), (300, "minutes"), (0, "seconds"))),
}
_UNITS = {
    "millions": 1e6,
    "thousands": 1e3,
    "EFLOPs": 1e18,
    "PFLOPs": 1e15,
    "TFLOPs": 1e12,
    "GFLOPs": 1e9,
    "hours": 3600.0,
    "minutes": 60.0,
}
_WIDTH, _HEIGHT = 3.3, 2.45  # inches, of one panel: a column of a paper
_PANELS_A_ROW = 2
_TITLE_WIDTH = 54  # characters that fit above a panel


def plot_curves(df: pd.DataFrame, output: str | Path, x: str = "steps") -> None:
    """Draw FID against training: the mean over seeds, each seed, and the band between them.

    Args:
        df: what `load_results` gives; each group of like runs gets a panel of its own.
        output: a .png (200 dpi), .svg or .pdf file, written whole or not at all.
        x: `steps`, `flops` (training compute) or `time` (training seconds, without evaluation).

    Raises:
        DitbenchError: an unknown suffix or x axis, no runs, or a place that cannot be written.
    """
    import matplotlib as mpl

    path = figure_path(output)
    with mpl.rc_context(RC):
        save(curves_figure(df, x), path)


def curves_figure(df: pd.DataFrame, x: str = "steps") -> Figure:
    """The figure that `plot_curves` writes; make it under `matplotlib.rc_context(style.RC)`."""
    from matplotlib.figure import Figure

    if x not in X_AXES:
        raise unknown_name("x axis", x, X_AXES)
    groups = split_groups(df)
    if not groups:
        raise DitbenchError("there are no runs to plot", "`ditbench run --block all` makes some")
    columns = min(len(groups), _PANELS_A_ROW)
    rows = -(-len(groups) // columns)
    blocks = in_order(df["block"])
    legend_rows = -(-len(blocks) // _legend_columns(columns))
    size = (_WIDTH * columns, _HEIGHT * rows + 0.16 * legend_rows)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, group in zip(axes, groups, strict=False):
        _draw_panel(panel, group, x, shared(df))
    for unused in axes[len(groups) :]:
        unused.set_visible(False)
    _legend(figure, blocks, columns)
    return figure


def _draw_panel(axes: Axes, group: pd.DataFrame, x: str, common: dict[str, Any]) -> None:
    column, label, sizes = X_AXES[x]
    largest = group[column].max()
    unit = next(unit for least, unit in sizes if largest >= least)
    scale = _UNITS.get(unit, 1.0)
    for block in in_order(group["block"]):
        _draw_block(axes, group[group["block"] == block], column, scale)
    facts = shared(group)
    axes.set_xlabel(f"{label} ({unit})" if unit else label)
    axes.set_ylabel(f"FID-{suffix(facts)}, {facts['features']} features")
    axes.set_title(wrap(describe(facts, common), _TITLE_WIDTH), loc="left")
    axes.set_xlim(left=0)
    axes.margins(y=0.06)
    lowest, highest = group["fid"].min(), group["fid"].max()
    if lowest > 0 and highest > 10 * lowest:
        _log_scale(axes, lowest, highest)
    else:
        axes.set_ylim(bottom=min(0, lowest))


def _draw_block(axes: Axes, runs: pd.DataFrame, column: str, scale: float) -> None:
    style = block_style(runs["block"].iloc[0])
    fid = runs.pivot(index="step", columns="seed", values="fid").dropna()
    where = runs.pivot(index="step", columns="seed", values=column).loc[fid.index] / scale
    across = where.mean(axis=1)
    if fid.shape[1] > 1:
        axes.fill_between(
            across, fid.min(axis=1), fid.max(axis=1), color=style.colour, alpha=0.16, linewidth=0
        )
        for seed in fid:
            axes.plot(where[seed], fid[seed], color=style.colour, linewidth=0.5, alpha=0.55)
    axes.plot(
        across,
        fid.mean(axis=1),
        color=style.colour,
        linestyle=style.line,
        marker=style.marker,
        markeredgecolor="white",
        markeredgewidth=0.4,
        label=style.label,
        zorder=3,
        clip_on=False,
    )


def _log_scale(axes: Axes, lowest: float, highest: float) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_yscale("log")
    # A factor of room below and above; 1-2-5 ticks, written as plain numbers.
    axes.set_ylim(lowest / 1.15, highest * 1.15)
    subs = (1.0, 2.0, 5.0) if highest < 1000 * lowest else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=20))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _legend_columns(panels: int) -> int:
    return 2 * panels


def _legend(figure: Figure, blocks: list[str], panels: int) -> None:
    """One legend for all panels, outside of them: it can cover no line."""
    found = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    labels = [block_style(block).label for block in blocks]
    figure.legend(
        [found[label] for label in labels],
        labels,
        loc="outside upper center",
        ncols=min(len(labels), _legend_columns(panels)),
        frameon=False,
        handlelength=2.8,
        columnspacing=1.6,
        labelspacing=0.25,
        borderpad=0.1,
    )
