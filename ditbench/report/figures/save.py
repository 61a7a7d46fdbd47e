"""Figures as PNG, SVG or PDF files: equal data give equal bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from ditbench.errors import DitbenchError
from ditbench.files import write_atomically
from ditbench.report.figures.style import DPI, RC

# Per format, the metadata to write: no dates and no versions, so that a file changes only when its
# content does.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": "ditbench"},
    "pdf": {"CreationDate": None, "Creator": "ditbench", "Producer": None},
}


def save_figure(draw: Callable[[], Figure], output: str | Path) -> None:
    """Call `draw` with ditbench's style in effect and write its figure, completely or not at all.

    The suffix of the path names the format: .png, .svg or .pdf. A DitbenchError for another one, or
    if the file cannot be written.
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
