"""Figures as PNG, SVG or PDF files: equal data give equal bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from ditbench.errors import DitbenchError, one_line
from ditbench.files import write_output
from ditbench.report.figures import fonts
from ditbench.report.figures.style import DPI, drawing

# Per format, the metadata to write: no dates and no versions, so that a file changes only when its
# content does.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": "ditbench"},
    "pdf": {"CreationDate": None, "Creator": "ditbench", "Producer": None},
}


def save_figure(
    draw: Callable[[], Figure],
    output: str | Path,
    warn: Callable[[str], object] = lambda _text: None,
) -> None:
    """Call `draw` with ditbench's style in effect and write its figure as .png, .svg or .pdf.

    A DitbenchError for another suffix. If names have characters that the font lacks, `draw` is
    called again with others; `warn` is called with a sentence about those that no font has.
    """
    path = Path(output)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in _METADATA:
        what = f"suffix '{path.suffix}'" if path.suffix else "file name without a suffix"
        suffixes = ", ".join(f".{known}" for known in _METADATA)
        raise DitbenchError(f"{path}: unknown {what}", f"use one of {suffixes}")
    with drawing():
        figure = _with_all_glyphs(draw, warn)
        options: dict[str, Any] = {"format": kind, "dpi": DPI, "metadata": _METADATA[kind]}
        write_output(path, lambda file: figure.savefig(file, **options))


def _with_all_glyphs(draw: Callable[[], Figure], warn: Callable[[str], object]) -> Figure:
    """The figure; with further fonts, drawn again, if its own lacks characters of a name."""
    figure = draw()
    if missing := fonts.missing_characters(figure):
        mpl.rcParams["font.family"] += fonts.families_with(missing)
        figure = draw()
        if missing := fonts.missing_characters(figure):
            fonts.replace(figure, missing)
            listed = one_line("".join(sorted(missing)), 100)
            warn(f"no installed font has {listed}: drawn as {fonts.REPLACEMENT}")
    return figure
