"""How blocks and figures look: labels, colours, markers, lines, matplotlib's settings."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import product
from typing import Any, Literal, NamedTuple
from zlib import crc32

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle

from ditbench.report.facts import in_order
from ditbench.report.words import drawable

DPI = 200
WIDTH = 3.3  # inches of a panel: one column of a paper
FONT = 8.0  # points, of legends and of the text beside sample grids

GREY = "#8A8A8A"  # of what is of no block

Marker = str | tuple[int, Literal[0, 1, 2], int]  # matplotlib's two notations
Line = str | tuple[int, tuple[float, ...]]


class BlockStyle(NamedTuple):
    """The look of a block. Marker and line alone distinguish blocks in greyscale."""

    label: str
    colour: str
    marker: Marker
    line: Line


# Colours of Okabe and Ito (2008), which readers with any colour vision can distinguish.
PAPER_BLOCKS = {
    "in-context": BlockStyle("In-Context", "#E69F00", "o", (0, (1, 1))),
    "cross-attention": BlockStyle("Cross-Attention", "#009E73", "s", (0, (3, 1, 1, 1))),
    "adaln": BlockStyle("adaLN", "#0072B2", "^", (0, (4, 1.5))),
    "adaln-zero": BlockStyle("adaLN-Zero", "#D55E00", "D", "-"),
}
# Blocks that came when the styles below were given away, with markers that are not among those.
LATER_BLOCKS = {
    "adaln-shared": BlockStyle("adaLN-Shared", "#332288", "8", (0, (6, 2))),
    "adaln-tanh": BlockStyle("adaLN-Tanh", "#5511EE", (4, 1, 45), (0, (2, 1))),
    "ada-rms": BlockStyle("Ada-RMS", "#006600", (3, 1, 180), (0, (8, 1, 2, 1))),
    "in-context-multi": BlockStyle("In-Context-Multi", "#FFAA88", "H", (0, (5, 1, 1, 1, 1, 1))),
    "rotation": BlockStyle("Rotation", "#FF1122", (8, 1, 0), (0, (6, 2))),
    "time-qkv": BlockStyle("Time-QKV", "#9970FF", (5, 0, 180), (0, (2, 1))),
    "shift-skip": BlockStyle("Shift-Skip", "#335533", (5, 1, 180), (0, (8, 1, 2, 1))),
}
_FIXED = PAPER_BLOCKS | LATER_BLOCKS
# How a text writes the names of ditbench's other blocks; users' are written as they are.
TITLES = {
    title.lower(): title
    for title in (
        *("adaLN-Gate", "adaLN-LoRA", "adaLN-Single", "adaLN-Zero-Init", "Hybrid"),
        *("In-Context-Class", "Joint", "No-Time", "None", "U-ViT"),
    )
}
# For all other names: the rest of Okabe and Ito without yellow (too light on white), some of Tol's
# muted and vibrant colours, and colours in between; all pairs differ by at least 25 in CIE Lab.
_COLOURS = (
    *("#CC79A7", "#56B4E9", "#000000", "#882255", "#999933", "#332288"),
    *("#EE3377", "#661100", "#888888", "#9970FF", "#33BB00", "#DD33DD"),
)
_MARKERS: tuple[Marker, ...] = (
    *("v", "P", "X", "<", ">", "*", "p", "d", "h"),
    (4, 1, 0),
    (6, 1, 0),
    (3, 1, 0),
)
_LINES: tuple[Line, ...] = ((0, (5, 1, 1, 1, 1, 1)), (0, (6, 2)), (0, (2, 1)), (0, (8, 1, 2, 1)))
# The initial value of the hash, chosen so that ditbench's first blocks all look different.
_HASH_START = 126_008

# For one column of a paper: 3.3 inches wide, no text below 6 points.
RC: dict[Any, Any] = {
    "figure.figsize": (WIDTH, WIDTH),  # a figure chooses its height
    "font.family": ["STIXGeneral"],  # comes with matplotlib: the same figure on every machine
    "text.parse_math": False,  # a $ in a name is a $
    "mathtext.fontset": "stix",
    "text.hinting": "no_hinting",  # the same widths at every resolution
    **dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize"), 8.5),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), 7.5),
    "legend.fontsize": FONT,
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.6),
    **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 2.5),
    "ytick.minor.size": 0,
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
    **dict.fromkeys(("axes.grid", "axes.axisbelow"), True),
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.3,
    "pdf.fonttype": 42,  # TrueType: many journals refuse Type 3
    "svg.hashsalt": "ditbench",  # the same ids every time
}


@contextmanager
def drawing(more: Mapping[Any, Any] = {}) -> Iterator[None]:
    """Ditbench's style, and `more`, in effect: not a user's, who may have set text.usetex."""
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about glyphs, and about texts that are too long
        mpl.rcdefaults()
        mpl.rcParams.update({**RC, **more})
        yield


def block_style(name: str) -> BlockStyle:
    """The style of a block. It depends on the name alone, not on the other blocks of a figure."""
    if name in _FIXED:
        return _FIXED[name]
    number = crc32(name.encode(), _HASH_START)  # unlike hash(), the same in every process
    number, colour = divmod(number, len(_COLOURS))
    number, marker = divmod(number, len(_MARKERS))
    label = TITLES.get(name, drawable(name))
    return BlockStyle(label, _COLOURS[colour], _MARKERS[marker], _LINES[number % len(_LINES)])


def block_styles(blocks: Iterable[str]) -> dict[str, BlockStyle]:
    """The styles of all blocks of one figure, by name, in the order of `in_order`.

    When two names have the same marker, the later one gets the next free marker; when no marker is
    free, the next free pair of line and marker.
    """
    styles: dict[str, BlockStyle] = {}
    for name in in_order(blocks):
        style = block_style(name)
        if any(style.marker == other.marker for other in styles.values()):
            style = _distinct(style, styles.values())
        styles[name] = style
    return styles


def _distinct(style: BlockStyle, others: Collection[BlockStyle]) -> BlockStyle:
    """The style with a marker, or else a pair of line and marker, that no other style has."""
    used = {(other.marker, other.line) for other in others}
    used_markers = {marker for marker, _ in used}
    start = _MARKERS.index(style.marker)
    markers = _MARKERS[start:] + _MARKERS[:start]
    pairs = [(marker, style.line) for marker in markers if marker not in used_markers]
    pairs += [(marker, line) for line, marker in product(_LINES, markers)]
    free = (pair for pair in pairs if pair not in used)
    marker, line = next(free, (style.marker, style.line))
    return style._replace(marker=marker, line=line)


@cache
def marker_size(marker: Marker) -> float:
    """The size at which a marker covers the same area as a square marker of size 1.

    At equal sizes, a star covers a quarter of the area of a square.
    """
    shape = MarkerStyle(marker)
    (outline,) = shape.get_path().transformed(shape.get_transform()).to_polygons()
    x, y = np.asarray(outline).T
    area = abs(x[:-1] @ y[1:] - x[1:] @ y[:-1]) / 2  # the shoelace formula
    return float(area**-0.5)


def text_width(text: str) -> float:
    """Inches of the longest line of a text, in the font of legends."""
    return _text_width(text, tuple(mpl.rcParams["font.family"]))


@cache
def _text_width(text: str, _family: tuple[str, ...]) -> float:
    figure = Figure(dpi=DPI)
    return float(figure.text(0, 0, text, fontsize=FONT).get_window_extent().width) / DPI
