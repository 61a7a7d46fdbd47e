"""What the figures share: panels and their titles, axes, units, and a legend outside of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from ditbench.errors import DitbenchError
from ditbench.report.figures.style import text_width
from ditbench.report.reading.groups import Group, groups_of, shared, why_times_differ
from ditbench.report.words import describe, fid_title

_LINE = 0.16  # inches: one line of a legend or a title
BETTER = "lower is better"  # said once per figure, on the first panel
_TITLE_WIDTH = 54  # characters that fit above a panel

# From this ratio of the largest to the smallest value on, an axis is logarithmic.
_LOG_FROM = 4.0
# Units by size: the smallest amount that is shown in the unit, its name, and its value.
Units = tuple[tuple[float, str, float], ...]
STEPS: Units = ((0, "", 1.0),)
FLOPS: Units = (
    (1e18, "EFLOPs", 1e18),
    (1e15, "PFLOPs", 1e15),
    (1e12, "TFLOPs", 1e12),
    (0, "GFLOPs", 1e9),
)
GMACS: Units = ((1000, "TMACs", 1e3), (0.1, "GMACs, the paper's Gflops", 1.0), (0, "MMACs", 1e-3))
SECONDS: Units = ((7200, "hours", 3600.0), (300, "minutes", 60.0), (0, "seconds", 1.0))


def groups_to_plot(df: pd.DataFrame) -> list[Group]:
    """The groups of comparable runs, one panel each; a DitbenchError when there are none."""
    groups = groups_of(df)
    if not groups:
        raise DitbenchError("there are no runs to plot", "make some: ditbench run --block paper")
    return groups


def with_comparable_times(
    groups: Sequence[Group], skipped: Callable[[str], object] | None
) -> list[Group]:
    """The groups whose seconds are comparable; `skipped` is called with each other one and why."""
    reasons = [why_times_differ(group.runs) for group in groups]
    for group, why in zip(groups, reasons, strict=True):
        if why and skipped is not None:
            skipped(f"training time of {' '.join(title_of(group).split())}: {why.lower()}")
    return [group for group, why in zip(groups, reasons, strict=True) if not why]


def panel_axes(
    titles: Sequence[str], handles: Mapping[str, Artist], height: float, handlelength: float = 2.8
) -> tuple[Figure, list[Axes]]:
    """A figure with the axes of one panel per title; see `panel_grid`."""
    figure, rows, columns = panel_grid(titles, handles, height, handlelength)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in axes[len(titles) :]:
        unused.remove()
    for panel, title in zip(axes, titles, strict=False):
        panel.set_title(title, loc="left")
    return figure, axes[: len(titles)].tolist()


def panel_grid(
    titles: Sequence[str], handles: Mapping[str, Artist], height: float, handlelength: float = 2.8
) -> tuple[Figure, int, int]:
    """A figure for one panel per title, with a legend if there are handles; its rows and columns.

    The height is that of a panel, in inches, without its title; its width is that of the style.
    """
    columns = min(len(titles), 2 if len(titles) <= 4 else 3)
    rows = -(-len(titles) // columns)
    lines = max(title.count("\n") + 1 for title in titles)
    width = mpl.rcParams["figure.figsize"][0] * columns
    legend_lines = -(-len(handles) // _legend_columns(handles, width)) if handles else 0
    high = rows * (height + lines * _LINE) + legend_lines * _LINE
    figure = Figure(figsize=(width, high), layout="constrained")
    if handles:
        _add_legend(figure, handles, width, handlelength)
    return figure, rows, columns


def label_with_unit(label: str, largest: float, units: Units) -> tuple[str, float]:
    """An axis's label with the unit for amounts up to `largest`, and the unit's value.

    For example `("Training time (hours)", 3600.0)`.
    """
    unit, size = next((name, value) for least, name, value in units if largest >= least)
    return f"{label} ({unit})" if unit else label, size


def title_of(group: Group, *more: str) -> str:
    """The description of a group: its task, its differences from the other groups, and more."""
    return wrap([*describe(shared(group.runs), group.apart), *more], _TITLE_WIDTH)


def metric_label(group: pd.DataFrame, title: str | None = None) -> str:
    """An axis's label: a metric, FID by default, with its number of samples and its features."""
    facts = shared(group)
    return f"{title or fid_title(facts)}, {facts['features']} features"


def set_scale(
    axes: Axes, axis: Literal["x", "y"], lowest: float, highest: float,
    *, room: float = 0.06, log: bool = False,
) -> None:  # fmt: skip
    """Set the limits of an axis around its extreme values, its scale, and its ticks.

    It is logarithmic if the values span a factor of 4, or with `log` if it can be. `room` is that
    beyond either extreme, as a share of the distance between them.
    """
    spans = 0 < _LOG_FROM * lowest <= highest
    log = spans or (log and lowest > 0)
    scale = axes.xaxis if axis == "x" else axes.yaxis
    if log:
        factor = (highest / lowest) ** room if highest > lowest else 1.1
        limits = lowest / factor, highest * factor
        axes.set(**{f"{axis}scale": "log"})
        scale.set_minor_locator(NullLocator())
    else:
        beyond = room * (highest - lowest) or 0.1 * abs(highest) or 1.0
        limits = lowest - beyond, highest + beyond
    axes.set(**{f"{axis}lim": limits})
    if spans:
        # Few of 1, 2, 3, ... per decade: names on x are wider than they are high.
        close = highest < 10 * lowest and axis == "y"
        subs = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0) if close else (1.0, 2.0, 5.0)
        scale.set_major_locator(LogLocator(subs=subs if highest < 1000 * lowest else (1.0,)))
    else:
        scale.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}"))


def visible(means: pd.Series[float], others: Iterable[float]) -> tuple[float, float]:
    """The range of means and other values; of the latter, not what is far outside of the means.

    Far is further than the means are from each other: an interval of few seeds would squeeze them.
    """
    low, high = float(means.min()), float(means.max())
    if 0 < _LOG_FROM * low <= high:
        furthest = low * low / high, high * high / low
    else:
        beyond = (high - low) or 0.2 * abs(high)
        furthest = low - beyond, high + beyond
    shown = np.clip([low, high, *(each for each in others if np.isfinite(each))], *furthest)
    return float(shown.min()), float(shown.max())


def count_steps(axes: Axes, largest: float) -> None:
    """Ticks of an x axis of training steps: 400 and 800, but 5k and 10k, 1M and 2M."""
    unit, size = ("M", 1e6) if largest >= 2e6 else ("k", 1e3) if largest >= 1e4 else ("", 1)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 4, 5, 10], integer=True))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value / size:,.12g}{unit if value else ''}")
    )


def _add_legend(
    figure: Figure, handles: Mapping[str, Artist], width: float, handlelength: float
) -> None:
    """Add one legend for all panels, at most `width` inches wide, above them."""
    legend = figure.legend(
        list(handles.values()),
        ["label"] * len(handles),  # matplotlib leaves out a label that begins with _
        loc="outside upper center",
        ncols=_legend_columns(handles, width),
        handlelength=handlelength,
        frameon=False,
        columnspacing=1.6,
        labelspacing=0.25,
        borderpad=0.1,
    )
    for text, label in zip(legend.get_texts(), handles, strict=True):
        text.set_text(label)


def _legend_columns(labels: Collection[str], width: float) -> int:
    """The number of columns that fit into `width` inches, with rows of about equal length."""
    # Besides its text, an entry has a handle, padding, and the space between two columns.
    entry = max(map(text_width, labels)) + 0.55
    columns = min(len(labels), max(1, int(width / entry)))
    return -(-len(labels) // -(-len(labels) // columns))


def wrap(parts: Sequence[str], width: int) -> str:
    """Join parts by commas, in lines of about `width` characters; no part is broken."""
    text, *others = parts
    for part in others:
        line = text.rsplit("\n", 1)[-1]
        text += f",\n{part}" if len(line) + len(part) > width else f", {part}"
    return text
