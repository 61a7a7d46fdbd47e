"""Figures as PNG, SVG or PDF files: equal data give equal bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from ditbench.errors import DitbenchError
from ditbench.files import write_atomically
from ditbench.report.figures.style import DPI, RC

if TYPE_CHECKING:
    from collections.abc import Callable

# Per format, the metadata to write: no dates and no versions, so that a file changes only when its
# content does.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": "ditbench"},
    "pdf": {"CreationDate": None, "Creator": "ditbench", "Producer": None},
}


def save_figure(draw: Callable[[], Figure], output: str | Path) -> None:
    """Draw a figure in ditbench's style and write it in the format that the suffix names.

    The file is written atomically: complete or not at all. Raster output has 200 dpi.

    Args:
        draw: returns the figure; called with the style in effect.
        output: a path that ends in .png, .svg or .pdf.

    Raises:
        DitbenchError: unknown suffix, or the file cannot be written; whatever `draw` raises.
    """
    path = Path(output)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in _METADATA:
        what = f"suffix '{path.suffix}'" if path.suffix else "file name without a suffix"
        suffixes = ", ".join(f".{known}" for known in _METADATA)
        raise DitbenchError(f"{path}: unknown {what}", f"use one of {suffixes}")
    with mpl.rc_context(RC):
        figure = draw()
        options: dict[str, Any] = {"format": kind, "dpi": DPI, "metadata": _METADATA[kind]}
        write_atomically(path, lambda file: figure.savefig(file, **options))
