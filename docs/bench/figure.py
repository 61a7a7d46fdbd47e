"""A figure of efficiency over the number of GPUs, from tables of `ditbench bench --gpus`.

python docs/bench/figure.py docs/bench/*.json -o docs/figures/scaling.png
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ditbench.errors import DitbenchError
from ditbench.report.figures.labels import Named, at_line_ends, ink
from ditbench.report.figures.save import save_figure
from ditbench.report.figures.style import FONT, PAPER_BLOCKS, WIDTH

LINES = {"weak": "-", "strong": (0, (4, 1.5))}
WORDS = {"weak": "batch per GPU kept", "strong": "global batch kept"}
HEIGHT = 2.6  # inches


def draw(rows: Sequence[dict[str, Any]]) -> Figure:
    """One line per model and scaling, named at its end, with the batch size of the fewest GPUs."""
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    models = list(dict.fromkeys(row["model"] for row in rows))
    looks = dict(zip(models, PAPER_BLOCKS.values(), strict=False))
    numbers = sorted({row["gpus"] for row in rows})
    series: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        series.setdefault((row["model"], row["scaling"]), []).append(row)
    percents = [100 * row["efficiency"] for row in rows]
    axes.set(xscale="log", xlim=(numbers[0], numbers[-1]), ylim=(min(percents) - 3, max(percents)))
    ends = []
    for (model, scaling), points in series.items():
        colour = looks[model].colour
        x, y = [row["gpus"] for row in points], [100 * row["efficiency"] for row in points]
        marks: dict[str, Any] = {"marker": looks[model].marker, "markersize": 4, "color": colour}
        axes.plot(x, y, linestyle=LINES[scaling], clip_on=False, **marks)
        name = f"{model}, batch {points[0]['batch_size']}"
        if x[-1] == numbers[-1]:
            ends.append(Named(name, x[-1], y[-1], colour))
        else:
            place: dict[str, Any] = {"textcoords": "offset points", "va": "center"}
            axes.annotate(name, (x[-1], y[-1]), (5, 1), color=ink(colour), fontsize=FONT, **place)
    at_line_ends(axes, ends, HEIGHT - 0.9)
    axes.set_xticks(numbers, labels=[str(number) for number in numbers])
    axes.minorticks_off()
    axes.set(xlabel=f"GPUs ({rows[0]['device']})", ylabel="Images/s per GPU (% of one)")
    drawn = list(dict.fromkeys(row["scaling"] for row in rows))
    keys = [Line2D([], [], color="#8A8A8A", linestyle=LINES[each]) for each in drawn]
    figure.legend(keys, [WORDS[each] for each in drawn], loc="outside upper center", ncols=2,
                  frameon=False, handlelength=2.4, columnspacing=1.6)  # fmt: skip
    return figure


def main(
    draw: Callable[[Sequence[dict[str, Any]]], Figure], arguments: Sequence[str] | None = None
) -> int:
    """The command line of a figure of tables; returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("tables", nargs="+", type=Path, metavar="JSON")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    rows = [row for path in options.tables for row in json.loads(path.read_text())]
    try:
        save_figure(lambda: draw(rows), options.output, print)
    except DitbenchError as error:
        print(f"error: {error.message}\nhelp: {error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(draw))
