"""Published results of the DiT paper in figures: beside measured ones, or in their own panel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ditbench.report.figures.style import GREY, block_style
from ditbench.report.paper import beside, results

TITLE = "Peebles & Xie 2022, Table 4:\nDiT-XL/2, ImageNet 256x256, 400K steps"
FID_LABEL = "FID-50K, Inception features (the paper's)"
RESULTS = results()
STEPS, IMAGES = 400_000, 400_000 * 256
BESIDE = "Peebles & Xie 2022, 400K steps"
_LOOK: dict[str, Any] = {"marker": "x", "markersize": 5, "markeredgewidth": 1.2}


def beside_each(groups: Sequence[pd.DataFrame], *, paper: bool) -> tuple[list[pd.DataFrame], bool]:
    """The published results in the axes of each group, and whether they need a panel of their own.

    They do where runs are not of the paper's task, see `paper.beside`.
    """
    found = [beside(runs) if paper else RESULTS.iloc[:0] for runs in groups]
    return found, paper and any(each.empty for each in found)


def draw_beside(axes: Axes, points: Iterable[tuple[Any, float, float]]) -> None:
    """Draw published results, (block, x, y) each, as crosses in the colours of their blocks."""
    for block, x, y in points:
        colour = block_style(str(block)).colour
        axes.plot(x, y, color=colour, linestyle="none", zorder=4, clip_on=False, **_LOOK)


def key(found: Iterable[pd.DataFrame]) -> dict[str, Line2D]:
    """What a cross means, for a legend; empty where there is none."""
    if all(each.empty for each in found):
        return {}
    return {BESIDE: Line2D([], [], color=GREY, linestyle="none", **_LOOK)}
