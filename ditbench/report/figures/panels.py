"""What the figures share: panels and their titles, axes, units, and a legend outside of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from ditbench.errors import DitbenchError
from ditbench.report.figures.style import DPI, FONT
from ditbench.report.reading.groups import Group, groups_of, shared
from ditbench.report.words import describe, fid_title

WIDTH = 3.3  # inches: one column of a paper
_LINE = 0.16  # inches: one line of a legend or a title
_TITLE_WIDTH = 54  # characters that fit above a panel

# Units by size: the smallest amount that is shown in the unit, its name, and its value.
Units = tuple[tuple[float, str, float], ...]
STEPS: Units = ((1e6, "millions", 1e6), (1e4, "thousands", 1e3), (0, "", 1.0))
FLOPS: Units = (
    (1e18, "EFLOPs", 1e18),
    (1e15, "PFLOPs", 1e15),
    (1e12, "TFLOPs", 1e12),
    (0, "GFLOPs", 1e9),
)
SECONDS: Units = ((7200, "hours", 3600.0), (300, "minutes", 60.0), (0, "seconds", 1.0))


def groups_to_plot(df: pd.DataFrame) -> list[Group]:
    """The groups of comparable runs, one panel each; a DitbenchError when there are none."""
    groups = groups_of(df)
    if not groups:
        raise DitbenchError("there are no runs to plot", "make some: ditbench run --block paper")
    return groups


def panel_grid(
    titles: Sequence[str],
    handles: Mapping[str, Artist],
    panel_height: float,
    extra_lines: int = 0,
    handlelength: float = 2.8,
) -> tuple[Figure, int, int]:
    """A figure for one panel per title, with a legend, and its numbers of rows and columns.

    The height is that of a panel, in inches, without its title and the extra lines of text.
    """
    columns = min(len(titles), 2 if len(titles) <= 4 else 3)
    rows = -(-len(titles) // columns)
    lines = max(title.count("\n") + 1 for title in titles) + extra_lines
    width = WIDTH * columns
    legend_lines = -(-len(handles) // _legend_columns(handles, width))
    height = rows * (panel_height + lines * _LINE) + legend_lines * _LINE
    figure = Figure(figsize=(width, height), layout="constrained")
    add_legend(figure, handles, width, "outside upper center", handlelength)
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


def fid_label(group: pd.DataFrame) -> str:
    """The y axis's label: FID with its number of samples and its features."""
    facts = shared(group)
    return f"{fid_title(facts)}, {facts['features']} features"


def set_log_scale(
    axes: Axes, axis: Literal["x", "y"], lowest: float, highest: float, room: float = 1.15
) -> bool:
    """Make an axis logarithmic when its values span more than a factor of 10.

    Limits are beyond the extreme values by the factor `room`. Returns whether it is logarithmic.
    """
    if not 0 < 10 * lowest < highest:
        return False
    axes.set(**{f"{axis}scale": "log", f"{axis}lim": (lowest / room, highest * room)})
    scale = axes.xaxis if axis == "x" else axes.yaxis
    # Ticks at 1, 2 and 5, written as plain numbers.
    subs = (1.0, 2.0, 5.0) if highest < 1000 * lowest else (1.0,)
    scale.set_major_locator(LogLocator(subs=subs, numticks=20))
    scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}"))
    scale.set_minor_locator(NullLocator())
    return True


def write_instead(axes: Axes, reason: str) -> None:
    """Write into an empty panel why it shows no data."""
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center")


def add_legend(
    figure: Figure | SubFigure,
    handles: Mapping[str, Artist],
    width: float,
    loc: Literal["outside upper center", "outside lower center"],
    handlelength: float,
) -> None:
    """Add one legend for all panels, at most `width` inches wide, above or below them."""
    legend = figure.legend(
        list(handles.values()),
        ["label"] * len(handles),  # matplotlib leaves out a label that begins with _
        loc=loc,
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


def text_width(text: str) -> float:
    """Inches of the longest line of a text, in the font of legends."""
    figure = Figure(dpi=DPI)
    return float(figure.text(0, 0, text, fontsize=FONT).get_window_extent().width) / DPI
