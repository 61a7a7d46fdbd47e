"""How figures look and are saved: a block's label, place, colour, marks. Imports no matplotlib."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from zlib import crc32

from ditbench.errors import DitbenchError
from ditbench.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
DPI = 200
FONT = 8.0  # points, of legends and of what stands beside pictures


Marker = str | tuple[int, Literal[0, 1, 2], int]  # as matplotlib understands them
Line = str | tuple[int, tuple[float, ...]]


@dataclass(frozen=True)
class BlockStyle:
    """A block's label and its marks, enough of them to be told apart in grey."""

    label: str
    colour: str
    marker: Marker
    line: Line


# The paper's four in the paper's order, in the colours of Okabe and Ito (2008), which people with
# any colour vision can tell apart.
PAPER_BLOCKS = {
    "in-context": BlockStyle("In-Context", "#E69F00", "o", (0, (1, 1))),
    "cross-attention": BlockStyle("Cross-Attention", "#009E73", "s", (0, (3, 1, 1, 1))),
    "adaln": BlockStyle("adaLN", "#0072B2", "^", (0, (4, 1.5))),
    "adaln-zero": BlockStyle("adaLN-Zero", "#D55E00", "D", "-"),
}
# For any other name: what is left of Okabe and Ito (yellow is lost on white), some of Tol's muted
# and vibrant, and what lies between; no two of all are closer than 25 in CIE Lab.
_COLOURS = (
    *("#CC79A7", "#56B4E9", "#000000", "#882255", "#999933", "#332288"),
    *("#EE3377", "#661100", "#888888", "#9970FF", "#33BB00", "#DD33DD"),
)
_MARKERS: tuple[Marker, ...] = (
    *("v", "P", "X", "<", ">", "*", "p", "d", "h"),
    *((4, 1, 0), (6, 1, 0), (3, 1, 0)),
)
_LINES: tuple[Line, ...] = ((0, (5, 1, 1, 1, 1, 1)), (0, (6, 2)), (0, (2, 1)), (0, (8, 1, 2, 1)))
# Where the hash starts: a number for which the names that are likely all look different.
_HASH_START = 126_008

# For a column of a paper: 3.3 inches wide, nothing below 6 points.
RC: dict[Any, Any] = {
    "font.family": "STIXGeneral",  # comes with matplotlib: the same figure on every machine
    "mathtext.fontset": "stix",
    "text.hinting": "no_hinting",  # the same widths at every resolution
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": FONT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "ytick.minor.size": 0,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.3,
    "pdf.fonttype": 42,  # TrueType: many journals refuse Type 3
    "svg.hashsalt": "ditbench",  # the same ids every time
}


def block_style(name: str) -> BlockStyle:
    """The look of a block: fixed for a name, whichever blocks stand beside it."""
    if name in PAPER_BLOCKS:
        return PAPER_BLOCKS[name]
    number = crc32(name.encode(), _HASH_START)  # unlike hash(), the same in every process
    return BlockStyle(
        name,
        _COLOURS[number % len(_COLOURS)],
        _MARKERS[number // len(_COLOURS) % len(_MARKERS)],
        _LINES[number // (len(_COLOURS) * len(_MARKERS)) % len(_LINES)],
    )


def block_styles(blocks: Iterable[str]) -> dict[str, BlockStyle]:
    """The looks of the blocks of one figure, in their order there.

    A colour always belongs to its name. Should two names have got one marker, the later takes the
    next that is free, and with more blocks than markers another line: in grey, nothing else tells
    them apart.
    """
    styles: dict[str, BlockStyle] = {}
    for name in in_order(blocks):
        style = block_style(name)
        taken = {(other.marker, other.line) for other in styles.values()}
        markers = {marker for marker, _ in taken}
        if style.marker in markers:
            style = _another(style, markers, taken)
        styles[name] = style
    return styles


def _another(
    style: BlockStyle, markers: set[Marker], taken: set[tuple[Marker, Line]]
) -> BlockStyle:
    start = _MARKERS.index(style.marker)
    in_turn = _MARKERS[start:] + _MARKERS[:start]
    free = [marker for marker in in_turn if marker not in markers]
    if free:
        return replace(style, marker=free[0])
    pairs = [(marker, line) for line in _LINES for marker in in_turn]
    marker, line = next((pair for pair in pairs if pair not in taken), (style.marker, style.line))
    return replace(style, marker=marker, line=line)


@cache
def marker_size(marker: Marker) -> float:
    """How large a marker must be drawn to cover the area of a square of size 1.

    At one size, a star covers a quarter of what a square does.
    """
    import numpy as np
    from matplotlib.markers import MarkerStyle

    shape = MarkerStyle(marker)
    (outline,) = shape.get_path().transformed(shape.get_transform()).to_polygons()
    x, y = np.asarray(outline).T
    area = abs(x[:-1] @ y[1:] - x[1:] @ y[:-1]) / 2  # the shoelace formula
    return float(area**-0.5)


def in_order(blocks: Iterable[str]) -> list[str]:
    """Distinct blocks in the paper's order, then the others alphabetically."""
    names = set(blocks)
    return [name for name in PAPER_BLOCKS if name in names] + sorted(names - PAPER_BLOCKS.keys())


def wrap(parts: list[str], width: int) -> str:
    """Parts with commas between, in lines of about `width` characters that part no part."""
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) > width:
            lines[-1] += ","
            lines.append(part)
        else:
            lines[-1] += f", {part}"
    return "\n".join(lines)


def text_width(text: str) -> float:
    """The width of a text's longest line in inches, as it will be drawn in a legend or beside."""
    from matplotlib.figure import Figure

    figure = Figure(dpi=DPI)
    return float(figure.text(0, 0, text, fontsize=FONT).get_window_extent().width) / DPI


def figure_path(output: str | Path) -> Path:
    """The path of a figure; a DitbenchError when its suffix is none that can be drawn."""
    path = Path(output)
    if path.suffix.lower() not in SUFFIXES:
        what = f"suffix '{path.suffix}'" if path.suffix else "file name without a suffix"
        raise DitbenchError(f"{path}: unknown {what}", f"use one of {', '.join(SUFFIXES)}")
    return path


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of its suffix, whole or not at all; equal data, equal bytes.

    Raises:
        DitbenchError: the place cannot be written.
    """
    kind = path.suffix.lower().removeprefix(".")
    # Dates and versions out, so that a figure changes only when what it shows does.
    metadata: dict[str, dict[str, str | None]] = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": "ditbench"},
        "pdf": {"CreationDate": None, "Creator": "ditbench", "Producer": None},
    }
    write_atomically(
        path,
        lambda file: figure.savefig(file, format=kind, dpi=DPI, metadata=metadata[kind]),
    )
