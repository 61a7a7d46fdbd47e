"""Samples of several blocks: one row of images per block, columns share noise and class."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.image import imread

from ditbench.errors import DitbenchError
from ditbench.report.facts import in_order
from ditbench.report.figures.panels import groups_to_plot, wrap
from ditbench.report.figures.style import DPI, FONT, block_style, text_width
from ditbench.report.reading.groups import Group, shared
from ditbench.report.words import describe
from ditbench.rundir import RunDirectory

Image = np.ndarray[Any, Any]  # H x W, H x W x 3 or H x W x 4; values in 0..1

# How runs write their grids (ditbench.runs.scoring.sample, which reporting must not import): images
# narrower than this are enlarged by a whole number; this many pixels follow each image at its
# right and at its bottom.
_MIN_TILE = 48
_GRID_GAP = 2
_ROWS = 2  # of each grid that are shown, from its top

# Inches, and characters of a title.
_WIDTH = 3.3  # of labels and samples, about: one column of a paper
_LINE = 1.3 * FONT / 72
_MARGIN, _GAP, _GROUP_GAP = 0.06, 0.06, 0.12
_TITLE_WIDTH = 58


def samples_figure(df: pd.DataFrame, skipped: Callable[[str], object] | None = None) -> Figure:
    """Draw the samples of each block at the end of training, below each other, for one seed.

    Args:
        df: rows of `load_results`; groups of comparable runs follow each other, each with a title.
        skipped: is called with each group that is left out, and why: those without a seed for
            which every block has a sample grid.

    A DitbenchError if there is no group that can be shown, or a grid cannot be read.
    """
    shown, reasons = [], []
    for group in groups_to_plot(df):
        if found := strips_of(group):
            shown.append(found)
            continue
        grids = _grids(group.runs[group.runs["final"]])
        reason = f"no seed for which each of {', '.join(grids)} has a sample grid"
        if without := [block for block, by_seed in grids.items() if not by_seed]:
            more = [f"{len(without) - 3} more"] if len(without) > 3 else []
            reason = f"no sample grid of {', '.join(without[:3] + more)}"
        reasons.append(f"{', '.join(describe(shared(group.runs), group.apart))}: {reason}")
    if not shown:
        raise DitbenchError("; ".join(reasons), _how_to_draw(df[df["final"]]))
    if skipped is not None:
        for reason in reasons:
            skipped(reason)
    return _lay_out(shown)


def strips_of(group: Group) -> tuple[str, dict[str, Image]] | None:
    """The title of a group, and the first rows of each block's grid, all of one seed; None without
    a seed for which every block has a sample grid.
    """
    final = group.runs[group.runs["final"]]
    grids = _grids(final)
    seeds = set.intersection(*map(set, grids.values()))
    if not seeds:
        return None
    seed, facts = min(seeds), shared(group.runs)
    size = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})x\d+", facts["input"], re.ASCII)
    if size is None:
        raise DitbenchError(f"'{facts['input']}' is not an input size: height x width x channels")
    height, width = map(int, size.groups())
    strips = {block: first_rows(_read(of[seed]), height, width) for block, of in grids.items()}
    # Under a budget of FLOPs or seconds, blocks differ in their steps.
    steps = final["step"][final["seed"] == seed]
    first, last = steps.min(), steps.max()
    trained = f"step {last:,}" if first == last else f"steps {first:,} to {last:,}"
    return wrap([*describe(facts, group.apart), trained, f"seed {seed}"], _TITLE_WIDTH), strips


def _how_to_draw(final: pd.DataFrame) -> str:
    """What to do about missing grids: `ditbench run` does not draw those of complete runs again."""
    for path, step in zip(final["path"], final["step"], strict=True):
        run = RunDirectory(Path(path))
        if run.last_samples() is None:
            return f"draw it from a checkpoint: ditbench sample {path} -o {run.samples(int(step))}"
    return "run all blocks with one seed: ditbench run --block paper --seeds 1"


def _grids(final: pd.DataFrame) -> dict[str, dict[int, Path]]:
    """The last sample grid of each block and seed that has one."""
    grids: dict[str, dict[int, Path]] = {block: {} for block in in_order(final["block"])}
    for block, seed, path in zip(final["block"], final["seed"], final["path"], strict=True):
        if (grid := RunDirectory(Path(path)).last_samples()) is not None:
            grids[block][int(seed)] = grid
    return grids


def _read(path: Path) -> Image:
    try:
        image: Image = imread(path)
    except (OSError, SyntaxError, ValueError) as error:  # Pillow: SyntaxError for a damaged PNG
        hint = f"draw it from the checkpoint: ditbench sample {path.parents[1]} -o {path}"
        raise DitbenchError(f"{path} is not a readable image", hint) from error
    return image


def first_rows(grid: Image, height: int, width: int) -> Image:
    """The first `_ROWS` rows of a run's sample grid, with pixels and gaps as small as they can be.

    The result has the size of the input and thin white lines between images. A grid that is not
    made of images of `height` x `width` is returned unchanged.
    """
    scale = -(-_MIN_TILE // width)
    high, wide = scale * height + _GRID_GAP, scale * width + _GRID_GAP
    if grid.shape[0] % high or grid.shape[1] % wide:
        return grid
    tiles = grid.reshape(grid.shape[0] // high, high, grid.shape[1] // wide, wide, -1)
    images = tiles[:_ROWS, : scale * height : scale, :, : scale * width : scale]
    gap = 1 if width < 32 else 2
    images = np.pad(images, ((0, 0), (0, gap), (0, 0), (0, gap), (0, 0)), constant_values=1)
    shape = images.shape[0] * images.shape[1], images.shape[2] * images.shape[3], *grid.shape[2:]
    return images.reshape(shape)[:-gap, :-gap]


def _lay_out(groups: list[tuple[str, dict[str, Image]]]) -> Figure:
    """Place titles, labels and samples by the inch, so that pixels are squares of equal size."""
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
            # Smooth only what is shown smaller than it is.
            smooth = "antialiased" if image.shape[1] > target else "nearest"
            axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation=smooth, aspect="auto")
            place = (left - _GAP) / width, (top - high / 2) / height
            figure.text(*place, block_style(block).label, fontsize=FONT, ha="right", va="center")
            top -= high + _GAP
        top -= _GROUP_GAP - _GAP
    return figure


def _fit(image: Image, target: float) -> tuple[float, float]:
    """Width and height in inches: a whole multiple of the pixels, about `target` dots wide."""
    height, width = image.shape[:2]
    # Better a little too wide than much too narrow: for 445 dots, 89 pixels are enlarged 5 times,
    # 338 pixels twice.
    scale = target / width if width > target else math.ceil(target / width - 0.25)
    return scale * width / DPI, scale * height / DPI
