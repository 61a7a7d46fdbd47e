"""FID along training."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ditbench.errors import unknown_name
from ditbench.report.figures import panels, published
from ditbench.report.figures.style import BlockStyle, block_style, block_styles, marker_size
from ditbench.report.reading.groups import check_columns, why_times_differ

# Values of `--x`: the column, the axis's label, the units.
X_AXES: dict[str, tuple[str, str, panels.Units]] = {
    "steps": ("step", "Training steps", panels.STEPS),
    "flops": ("train_flops", "Training compute", panels.FLOPS),
    "time": ("seconds", "Training time", panels.SECONDS),
}
_HEIGHT = 2.3  # inches of a panel, without its title
_MARKER = 3.0  # points: the side of a square marker
_PUBLISHED_MARKER = 5.0


def curve_figure(df: pd.DataFrame, x: str = "steps", *, paper: bool = False) -> Figure:
    """Draw FID along training: the mean over seeds, each seed, and the range of the seeds.

    Seeds are averaged per evaluation: the first with the first, and so on. Under a budget of
    seconds, the seeds have made different numbers of steps by then; x is averaged, too. Nothing
    is interpolated.

    Args:
        df: rows of `load_results`; each group of comparable runs gets its own panel.
        x: `steps`, `flops` (training compute) or `time` (training seconds, without evaluation).
        paper: add a panel with the published FIDs of DiT-XL/2 (Peebles & Xie 2022, Table 4).

    Raises:
        DitbenchError: unknown x axis, or no runs.
    """
    if x not in X_AXES:
        raise unknown_name("x axis", x, X_AXES)
    check_columns(df)
    groups = panels.groups_to_plot(df[df["curve"]])
    titles = [panels.title_of(group, *_own_steps(group.runs)) for group in groups]
    titles += [published.TITLE] * paper
    styles = block_styles(df["block"])
    handles = {style.label: Line2D([], [], **_line(style)) for style in styles.values()}
    figure, rows, columns = panels.panel_grid(titles, handles, _HEIGHT)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, group in zip(axes, groups, strict=False):
        _draw_panel(panel, group.runs, x, styles)
    if paper:
        _draw_published(axes[len(groups)])
    for panel, title in zip(axes, titles, strict=False):
        panel.set_title(title, loc="left")
    for unused in axes[len(titles) :]:
        unused.remove()
    return figure


def _own_steps(curve: pd.DataFrame) -> list[str]:
    """The sampling steps of a curve, where tables and verdict use others."""
    steps = curve["curve_sampling_steps"]
    return [] if (steps == curve["sampling_steps"]).all() else [f"{steps.iloc[0]} sampling steps"]


def _draw_panel(axes: Axes, group: pd.DataFrame, x: str, styles: dict[str, BlockStyle]) -> None:
    column, label, units = X_AXES[x]
    axes.set_ylabel(panels.fid_label(group))
    if x == "time" and (why := why_times_differ(group)):
        axes.set_xlabel(label)
        panels.write_instead(axes, f"{why}:\ntheir seconds are not comparable")
        return
    label, size = panels.label_with_unit(label, group[column].max(), units)
    for block, style in styles.items():
        if (group["block"] == block).any():
            _draw_block(axes, group[group["block"] == block], column, size, style)
    axes.set_xlabel(label)
    axes.set_xlim(left=0)
    axes.margins(y=0.06)
    lowest, highest = group["fid"].min(), group["fid"].max()
    if not panels.set_log_scale(axes, "y", lowest, highest):
        axes.set_ylim(bottom=min(0, lowest))


def _draw_block(
    axes: Axes, runs: pd.DataFrame, column: str, size: float, style: BlockStyle
) -> None:
    # Indexed by the evaluation's number, not its step: steps may differ between seeds.
    runs = runs.sort_values("step").assign(
        number=lambda ordered: ordered.groupby("seed").cumcount(),
        x=lambda all_: all_[column] / size,
    )
    fid = runs.pivot(index="number", columns="seed", values="fid").dropna()
    x = runs.pivot(index="number", columns="seed", values="x").loc[fid.index].mean(axis=1)
    if fid.shape[1] > 1:
        lowest, highest = fid.min(axis=1), fid.max(axis=1)
        axes.fill_between(x, lowest, highest, color=style.colour, alpha=0.16, linewidth=0)
        for _, run in runs.groupby("seed"):
            axes.plot(run["x"], run["fid"], color=style.colour, linewidth=0.5, alpha=0.55)
    axes.plot(x, fid.mean(axis=1), **_line(style), label=style.label, zorder=3, clip_on=False)


def _line(style: BlockStyle) -> dict[str, Any]:
    return {
        "color": style.colour,
        "linestyle": style.line,
        "marker": style.marker,
        "markersize": _MARKER * marker_size(style.marker),
        "markeredgecolor": "white",
        "markeredgewidth": 0.4,
    }


def _draw_published(axes: Axes) -> None:
    """Draw each published FID as a marker with its value. Measured FIDs never share these axes."""
    labels = []
    for place, (block, fid) in enumerate(published.RESULTS["fid"].items()):
        style = block_style(str(block))
        # Two lines each, even if the second is empty: matplotlib would align one line differently.
        first, hyphen, second = style.label.partition("-")
        labels.append(f"{first}{hyphen}\n{second}")
        size = _PUBLISHED_MARKER * marker_size(style.marker)
        marks: dict[str, Any] = {"marker": style.marker, "markersize": size, "color": style.colour}
        axes.plot(place, fid, **marks, linestyle="none", clip_on=False)
        axes.annotate(f"{fid:.2f}", (place, fid), (7, 0), textcoords="offset points", va="center")
    axes.set_xticks(range(len(labels)), labels)
    axes.grid(visible=False, axis="x")
    axes.set(xlim=(-0.4, len(labels) - 0.3), ylim=(0, 40), ylabel=published.FID_LABEL)
