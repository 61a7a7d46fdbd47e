"""FID along training, as one would put it in a paper. Matplotlib's objects only, never pyplot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ditbench.errors import unknown_name
from ditbench.report import paper as published
from ditbench.report.gallery import plot_samples
from ditbench.report.panels import (
    FLOPS,
    LINE,
    SECONDS,
    STEPS,
    WIDTH,
    Units,
    columns_for,
    fid_label,
    groups_to_plot,
    legend_height,
    line_handle,
    line_of,
    outside_legend,
    say_instead,
    set_scale,
    title_of,
    unit_for,
    with_unit,
)
from ditbench.report.pareto import plot_pareto
from ditbench.report.reading.groups import devices_differ
from ditbench.report.style import RC, BlockStyle, block_styles, figure_path, save

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["X_AXES", "curves_figure", "plot_curves", "plot_pareto", "plot_samples"]

# What may stand on the x axis: the column, its name, the units in which it is counted.
X_AXES: dict[str, tuple[str, str, Units]] = {
    "steps": ("step", "Training steps", STEPS),
    "flops": ("train_flops", "Training compute", FLOPS),
    "time": ("seconds", "Training time", SECONDS),
}
_HEIGHT = 2.3  # inches of a panel, below its title


def plot_curves(
    df: pd.DataFrame,
    output: str | Path,
    x: str = "steps",
    paper: bool = False,  # noqa: FBT001 (the command's flag)
) -> None:
    """Draw FID against training: the mean over seeds, each seed, and the band between them.

    Seeds are averaged evaluation by evaluation, the first with the first: under a budget of
    seconds each makes another number of steps. Where they differ, x is averaged, too; nothing is
    interpolated.

    Args:
        df: what `load_results` gives; each group of like runs gets a panel of its own.
        output: a .png (200 dpi), .svg or .pdf file, written whole or not at all.
        x: `steps`, `flops` (training compute) or `time` (training seconds, without evaluation).
        paper: add a panel with the published FIDs of DiT-XL/2 (Peebles & Xie 2022, Table 4).

    Raises:
        DitbenchError: an unknown suffix or x axis, no runs, or a place that cannot be written.
    """
    import matplotlib as mpl

    path = figure_path(output)
    with mpl.rc_context(RC):
        save(curves_figure(df, x, paper), path)


def curves_figure(
    df: pd.DataFrame,
    x: str = "steps",
    paper: bool = False,  # noqa: FBT001
) -> Figure:
    """The figure that `plot_curves` writes; make it under `matplotlib.rc_context(style.RC)`."""
    from matplotlib.figure import Figure

    if x not in X_AXES:
        raise unknown_name("x axis", x, X_AXES)
    groups = groups_to_plot(df)
    titles = [title_of(group, df) for group in groups]
    styles = block_styles(df["block"])
    panels = len(groups) + paper
    columns = columns_for(panels)
    rows = -(-panels // columns)
    labels = [style.label for style in styles.values()]
    lines = 2 if paper else max(title.count("\n") + 1 for title in titles)
    height = rows * (_HEIGHT + lines * LINE) + legend_height(labels, WIDTH * columns)
    figure = Figure(figsize=(WIDTH * columns, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, group, title in zip(axes, groups, titles, strict=False):
        _draw_panel(panel, group, x, styles)
        panel.set_title(title, loc="left")
    if paper:
        published.draw_published_fids(axes[len(groups)])
    for unused in axes[panels:]:
        unused.remove()
    handles = {style.label: line_handle(style) for style in styles.values()}
    outside_legend(figure, handles, WIDTH * columns)
    return figure


def _draw_panel(axes: Axes, group: pd.DataFrame, x: str, styles: dict[str, BlockStyle]) -> None:
    column, label, units = X_AXES[x]
    axes.set_ylabel(fid_label(group))
    if x == "time" and devices_differ(group):
        axes.set_xlabel(label)
        say_instead(axes, "Runs on different devices:\ntheir seconds are not comparable")
        return
    unit, size = unit_for(group[column].max(), units)
    for block, style in styles.items():
        if (group["block"] == block).any():
            _draw_block(axes, group[group["block"] == block], column, size, style)
    axes.set_xlabel(with_unit(label, unit))
    axes.set_xlim(left=0)
    axes.margins(y=0.06)
    lowest, highest = group["fid"].min(), group["fid"].max()
    if not set_scale(axes, "y", lowest, highest):
        axes.set_ylim(bottom=min(0, lowest))


def _draw_block(
    axes: Axes, runs: pd.DataFrame, column: str, size: float, style: BlockStyle
) -> None:
    # By the evaluation's number, not its step: steps may differ by seed.
    runs = runs.sort_values("step").assign(
        number=lambda ordered: ordered.groupby("seed").cumcount(),
        x=lambda all_: all_[column] / size,
    )
    fid = runs.pivot(index="number", columns="seed", values="fid").dropna()
    across = runs.pivot(index="number", columns="seed", values="x").loc[fid.index].mean(axis=1)
    if fid.shape[1] > 1:
        axes.fill_between(
            across, fid.min(axis=1), fid.max(axis=1), color=style.colour, alpha=0.16, linewidth=0
        )
        for _, run in runs.groupby("seed"):
            axes.plot(run["x"], run["fid"], color=style.colour, linewidth=0.5, alpha=0.55)
    axes.plot(
        across,
        fid.mean(axis=1),
        **line_of(style),
        label=style.label,
        zorder=3,
        clip_on=False,
    )
