"""A figure of efficiency over the number of GPUs, from tables of `ditbench bench --gpus`.

python docs/bench/figure.py docs/bench/*.json -o docs/figures/scaling.png
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ditbench.errors import DitbenchError
from ditbench.report.figures.panels import WIDTH
from ditbench.report.figures.save import save_figure
from ditbench.report.figures.style import PAPER_BLOCKS

LINES = {"weak": "-", "strong": (0, (4, 1.5))}
WORDS = {"weak": "batch per GPU kept", "strong": "global batch kept"}
HEIGHT = 2.4  # inches


def draw(rows: Sequence[dict[str, Any]]) -> Figure:
    """One line per model, global batch of the fewest GPUs, and scaling."""
    figure = Figure(figsize=(1.7 * WIDTH, HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    models = list(dict.fromkeys(row["model"] for row in rows))
    looks = dict(zip(models, PAPER_BLOCKS.values(), strict=False))
    series: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        series.setdefault((row["model"], row["scaling"]), []).append(row)
    for (model, scaling), points in series.items():
        axes.plot(
            [row["gpus"] for row in points],
            [100 * row["efficiency"] for row in points],
            label=f"{model}, {WORDS[scaling]} ({points[0]['batch_size']})",
            color=looks[model].colour,
            marker=looks[model].marker,
            markersize=4,
            linestyle=LINES[scaling],
        )
    numbers = sorted({row["gpus"] for row in rows})
    axes.set_xscale("log", base=2)
    axes.set_xticks(numbers, labels=[str(number) for number in numbers])
    axes.set(xlabel=f"GPUs ({rows[0]['device']})", ylabel="Images/s per GPU (% of one)")
    axes.set_ylim(top=max(102.0, *(101 * row["efficiency"] for row in rows)))
    figure.legend(loc="outside right center", frameon=False)
    return figure


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("tables", nargs="+", type=Path, metavar="JSON")
    parser.add_argument("-o", "--output", type=Path, default=Path("scaling.png"))
    options = parser.parse_args(arguments)
    rows = [row for path in options.tables for row in json.loads(path.read_text())]
    try:
        save_figure(lambda: draw(rows), options.output, print)
    except DitbenchError as error:
        print(f"error: {error.message}\nhelp: {error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
