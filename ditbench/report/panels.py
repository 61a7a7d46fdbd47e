"""What all figures of results share: panels, their titles and axes, one legend outside of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ditbench.errors import DitbenchError
from ditbench.report.reading.groups import describe, shared, split_groups
from ditbench.report.style import BlockStyle, marker_size, text_width, wrap
from ditbench.report.words import fid_title

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

WIDTH = 3.3  # inches: a column of a paper
_MARKER = 3.0  # points, the side of a square as large as a curve's marker
LINE = 0.16  # inches: a line of a legend or a title
TITLE_WIDTH = 54  # characters that fit above a panel

# How large an amount must be to be counted in a unit, the unit, and what one of it is.
Units = tuple[tuple[float, str, float], ...]
STEPS: Units = ((1e6, "millions", 1e6), (1e4, "thousands", 1e3), (0, "", 1.0))
FLOPS: Units = (
    (1e18, "EFLOPs", 1e18),
    (1e15, "PFLOPs", 1e15),
    (1e12, "TFLOPs", 1e12),
    (0, "GFLOPs", 1e9),
)
SECONDS: Units = ((7200, "hours", 3600.0), (300, "minutes", 60.0), (0, "seconds", 1.0))


def groups_to_plot(df: pd.DataFrame) -> list[pd.DataFrame]:
    """The groups of like runs, each of which gets a panel; a DitbenchError when there are none."""
    groups = split_groups(df)
    if not groups:
        raise DitbenchError("there are no runs to plot", "`ditbench run --block paper` makes some")
    return groups


def columns_for(panels: int) -> int:
    """Panels a row: two are as wide as a page; more than four would be a tower, and take three."""
    return min(panels, 2 if panels <= 4 else 3)


def unit_for(largest: float, units: Units) -> tuple[str, float]:
    """The unit in which amounts up to `largest` are counted, and its size: `("hours", 3600.0)`."""
    return next((name, size) for least, name, size in units if largest >= least)


def with_unit(label: str, unit: str) -> str:
    """`Training time (hours)`; a number of things has no unit."""
    return f"{label} ({unit})" if unit else label


def title_of(group: pd.DataFrame, df: pd.DataFrame) -> str:
    """What a group is, and what sets it apart from the others of `df`, in lines that fit."""
    return wrap(describe(group, df), TITLE_WIDTH)


def fid_label(group: pd.DataFrame) -> str:
    """Which FID: a number without its features and its count of samples says nothing."""
    facts = shared(group)
    return f"{fid_title(facts)}, {facts['features']} features"


def set_scale(
    axes: Axes, axis: Literal["x", "y"], lowest: float, highest: float, room: float = 1.15
) -> bool:
    """Make an axis logarithmic when its values pass a factor of ten; whether it was made so.

    `room` is the factor by which the axis goes on below the lowest and above the highest value.
    """
    if not 0 < 10 * lowest < highest:
        return False
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set(**{f"{axis}scale": "log", f"{axis}lim": (lowest / room, highest * room)})
    scale = axes.xaxis if axis == "x" else axes.yaxis
    # 1-2-5 ticks, written as plain numbers.
    subs = (1.0, 2.0, 5.0) if highest < 1000 * lowest else (1.0,)
    scale.set_major_locator(LogLocator(subs=subs, numticks=20))
    scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}"))
    scale.set_minor_locator(NullLocator())
    return True


def say_instead(axes: Axes, reason: str) -> None:
    """Write into a panel why it shows no data."""
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center")


def legend_columns(labels: Sequence[str], width: float) -> int:
    """How many columns of a legend fit `width` inches, at least one; rows as even as can be."""
    # Beside the text: the handle, its pad, and what parts two columns.
    entry = max(map(text_width, labels)) + 0.55
    columns = min(len(labels), max(1, int(width / entry)))
    return -(-len(labels) // -(-len(labels) // columns))


def legend_height(labels: Sequence[str], width: float) -> float:
    """Inches that `outside_legend` takes."""
    return LINE * -(-len(labels) // legend_columns(labels, width))


def outside_legend(
    figure: Figure | SubFigure,
    handles: Mapping[str, Artist],
    width: float,
    loc: Literal["outside upper center", "outside lower center"] = "outside upper center",
    **options: Any,
) -> None:
    """One legend for all panels, outside of them: it can cover no line."""
    settings: dict[str, Any] = {
        "frameon": False,
        "handlelength": 2.8,
        "columnspacing": 1.6,
        "labelspacing": 0.25,
        "borderpad": 0.1,
    }
    figure.legend(
        list(handles.values()),
        list(handles),
        loc=loc,
        ncols=legend_columns(list(handles), width),
        **settings | options,
    )


def line_handle(style: BlockStyle, **options: Any) -> Artist:
    """How a block's curve looks, for the legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **line_of(style), **options)


def line_of(style: BlockStyle) -> dict[str, Any]:
    """A block's marks as matplotlib's properties of a line."""
    return {
        "color": style.colour,
        "linestyle": style.line,
        "marker": style.marker,
        "markersize": _MARKER * marker_size(style.marker),
        "markeredgecolor": "white",
        "markeredgewidth": 0.4,
    }
