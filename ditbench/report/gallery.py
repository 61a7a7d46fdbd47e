"""Samples of several blocks in one figure: rows are blocks, columns the same noise and class."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from ditbench.errors import DitbenchError
from ditbench.report.grid import first_rows
from ditbench.report.panels import groups_to_plot
from ditbench.report.reading.groups import describe, shared
from ditbench.report.style import (
    DPI,
    FONT,
    RC,
    block_style,
    figure_path,
    in_order,
    save,
    text_width,
    wrap,
)
from ditbench.rundir import RunDirectory

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ditbench.report.grid import Image

_WIDTH = 3.3  # inches that the grid and its labels should take: a column of a paper
_LINE = 1.3 * FONT / 72  # inches, as the lengths that follow
_MARGIN, _GAP, _GROUP_GAP = 0.06, 0.06, 0.12
_TITLE_WIDTH = 58  # characters that fit across


def plot_samples(df: pd.DataFrame, output: str | Path, rows: int = 2) -> None:
    """Draw the last samples of each block under each other, at the end of one seed's training.

    Args:
        df: what `load_results` gives; groups of like runs follow each other, each under its title.
        output: a .png (200 dpi), .svg or .pdf file, written whole or not at all.
        rows: how many rows of each block's grid are shown, from its top.

    Raises:
        DitbenchError: an unknown suffix, no seed for which every block of a group has a readable
            sample grid, or a place that cannot be written.
    """
    import matplotlib as mpl

    path = figure_path(output)
    with mpl.rc_context(RC):
        save(samples_figure(df, rows), path)


def samples_figure(df: pd.DataFrame, rows: int = 2) -> Figure:
    """The figure that `plot_samples` writes; make it under `matplotlib.rc_context(style.RC)`."""
    return _lay_out([_strips(group, rows, df) for group in groups_to_plot(df)])


def _strips(group: pd.DataFrame, rows: int, df: pd.DataFrame) -> tuple[str, dict[str, Image]]:
    """A group's title, and for each block the first rows of its last grid."""
    final = group[group["final"]]
    grids: dict[str, dict[int, Path]] = {block: {} for block in in_order(final["block"])}
    for block, seed, path in zip(final["block"], final["seed"], final["path"], strict=True):
        if (grid := RunDirectory(Path(path)).last_samples()) is not None:
            grids[block][int(seed)] = grid
    seeds = set.intersection(*(set(found) for found in grids.values()))
    if not seeds:
        without = [block for block, found in grids.items() if not found]
        raise DitbenchError(
            f"no sample grid of {', '.join(without)}"
            if without
            else f"no seed of which each of {', '.join(grids)} has a sample grid",
            "run all blocks with one seed: ditbench run --block paper --seeds 1",
        )
    seed = min(seeds)
    height, width = _tile(shared(final)["input"])
    strips = {
        block: first_rows(_read(found[seed]), height, width, rows) for block, found in grids.items()
    }
    parts = [*describe(group, df), _steps(final[final["seed"] == seed]), f"seed {seed}"]
    return wrap(parts, _TITLE_WIDTH), strips


def _steps(runs: pd.DataFrame) -> str:
    """When the samples were drawn: under a budget of FLOPs or seconds, blocks end apart."""
    first, last = runs["step"].min(), runs["step"].max()
    return f"step {last:,}" if first == last else f"steps {first:,} to {last:,}"


def _tile(size: str) -> tuple[int, int]:
    """Height and width of `8x8x1`."""
    try:
        height, width, _ = (int(number) for number in size.split("x"))
    except ValueError as error:
        raise DitbenchError(f"'{size}' is not an input: height x width x channels") from error
    if min(height, width) < 1:
        raise DitbenchError(f"'{size}' is not an input: it has no pixels")
    return height, width


def _read(path: Path) -> Image:
    from matplotlib.image import imread

    try:
        image: Image = imread(path)
    except (OSError, SyntaxError, ValueError) as error:  # SyntaxError: PIL's word for a broken PNG
        raise DitbenchError(f"{path} is not a readable image", "run it again") from error
    return image


def _lay_out(groups: list[tuple[str, dict[str, Image]]]) -> Figure:
    """Place strips by the inch, so that every pixel of a sample is a square of one size."""
    from matplotlib.figure import Figure

    images = [image for _, blocks in groups for image in blocks.values()]
    names = {block_style(block).label for _, blocks in groups for block in blocks}
    left = _MARGIN + max(map(text_width, names)) + 1.5 * _GAP
    target = (_WIDTH - left - _MARGIN) * DPI
    titles = [(text_width(title), _LINE * (title.count("\n") + 1)) for title, _ in groups]
    width = max(left + max(_fit(image, target)[0] for image in images), *(w for w, _ in titles))
    width += 2 * _MARGIN
    height = 2 * _MARGIN + _GROUP_GAP * (len(groups) - 1) + sum(high for _, high in titles)
    height += sum(_fit(image, target)[1] + _GAP for image in images)
    figure = Figure(figsize=(width, height), dpi=DPI)
    top = height - _MARGIN
    for (title, blocks), (_, title_height) in zip(groups, titles, strict=True):
        figure.text(_MARGIN / width, top / height, title, fontsize=FONT, va="top")
        top -= title_height + _GAP
        for block, image in blocks.items():
            wide, high = _fit(image, target)
            box = (left / width, (top - high) / height, wide / width, high / height)
            axes = figure.add_axes(box, label=block)
            axes.set_axis_off()
            # A grid that is larger than its place is made smaller, and smoothly.
            smooth = "antialiased" if image.shape[1] > target else "nearest"
            axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation=smooth, aspect="auto")
            place = (left - _GAP) / width, (top - high / 2) / height
            figure.text(*place, block_style(block).label, fontsize=FONT, ha="right", va="center")
            top -= high + _GAP
        top -= _GROUP_GAP - _GAP
    return figure


def _fit(image: Image, target: float) -> tuple[float, float]:
    """Width and height in inches: a whole multiple of the pixels that is about `target` dots."""
    height, width = image.shape[:2]
    # A little too wide rather than much too narrow: 89 pixels in 445 dots -> 5, 338 -> 2.
    scale = target / width if width > target else math.ceil(target / width - 0.25)
    return scale * width / DPI, scale * height / DPI
