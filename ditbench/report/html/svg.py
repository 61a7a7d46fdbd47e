"""Figures as SVG inside a page: their colours follow the page's scheme, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from ditbench.errors import printable_lines
from ditbench.report.figures.labels import luminance
from ditbench.report.figures.style import drawing

_WIDTH = 6.4  # inches; the page scales it to its own width
# Verdana has the widths of DejaVu Sans, which comes with matplotlib: one of the two is installed
# almost everywhere, so texts take the space that they were laid out with.
_FONTS = "DejaVu Sans, Verdana, sans-serif"
_STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "svg.fonttype": "none",  # texts stay texts: small, and any script that the browser has
    "figure.figsize": (_WIDTH, _WIDTH),
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    **dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize"), 8),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 7.5),
}
# What a page's background and text are when it is dark, 0..255 each.
_DARK_PAGE, _DARK_INK = (22, 24, 29), (230, 231, 235)
_LEAST_CONTRAST = 4.5  # WCAG 2.2, level AA
_PIECE = re.compile(r"<[^>]*>|[^<]+")  # a tag, or the text between two
_COLOUR = re.compile(r"#([0-9a-f]{6})\b")


def inline_svg(draw: Callable[[], Figure], label: str, place: str) -> Markup:
    """Call `draw` with ditbench's style in effect, and return its figure as an `<svg>` element.

    Each colour becomes a variable of the page, such as `var(--c-0072b2)`, which the page defines.
    The `label` describes the figure to readers who do not see it; its `place` in the page makes its
    ids unique.
    """
    with drawing(_STYLE | {"svg.hashsalt": place}):
        file = io.BytesIO()
        draw().savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    svg = file.getvalue().decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = _PIECE.sub(lambda m: _themed(m[0]) if m[0][0] == "<" else printable_lines(m[0]), svg)
    _, viewbox, body = re.split(r'viewBox="([\d. ]+)"[^>]*>', svg, maxsplit=1)
    opening = f'<svg class="figure" viewBox="{viewbox}" role="img" aria-label="{escape(label)}">'
    return Markup(opening + re.sub(r"\n+\s*", "\n", body))


def _themed(tag: str) -> str:
    """A tag with the page's fonts and variables in the place of colours."""
    tag = re.sub(r'<g id="[^"]*"', "<g", tag)
    tag = re.sub(r"font-family: [^;\"]*", f"font-family: {_FONTS}", tag)
    return _COLOUR.sub(r"var(--c-\1)", tag)


def colours_in(svgs: str) -> list[str]:
    """The colours that some themed SVG uses: six hexadecimal digits each."""
    return sorted(set(re.findall(r"var\(--c-([0-9a-f]{6})\)", svgs)))


def dark_twin(colour: str) -> str:
    """The colour with which a dark page shows another one, both as six hexadecimal digits.

    Greys are inverted, between the page's own background and ink. Others are mixed with white until
    they have enough contrast.
    """
    channels = [int(colour[start : start + 2], 16) for start in (0, 2, 4)]
    if max(channels) - min(channels) < 10:
        share = sum(channels) / 3 / 255
        pairs = zip(_DARK_INK, _DARK_PAGE, strict=True)
        mixed = [ink + share * (page - ink) for ink, page in pairs]
    else:
        steps = ([c + (255 - c) * step / 20 for c in channels] for step in range(21))
        mixed = next(each for each in steps if _contrast(each) >= _LEAST_CONTRAST)
    return "".join(f"{round(channel):02x}" for channel in mixed)


def _contrast(colour: list[float]) -> float:
    """The contrast of a colour and the dark page, 1 to 21, as WCAG 2.2 defines it."""
    of_colour, of_page = (luminance(np.array(each) / 255) for each in (colour, _DARK_PAGE))
    return (of_colour + 0.05) / (of_page + 0.05)
