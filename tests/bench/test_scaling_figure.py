"""docs/bench/figure.py, from the tables beside it."""

import json
import runpy
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2] / "docs" / "bench"


def test_each_line_is_a_model_and_a_scaling_and_is_named():
    rows = [row for path in HERE.glob("scaling-*.json") for row in json.loads(path.read_text())]
    (axes,) = runpy.run_path(str(HERE / "figure.py"))["draw"](rows).axes
    lines = {(row["model"], row["scaling"]) for row in rows}
    assert len(axes.lines) == len(axes.texts) == len(lines)
    drawn = [tuple(point) for line in axes.lines for point in line.get_xydata()]
    expected = [(row["gpus"], pytest.approx(100 * row["efficiency"])) for row in rows]
    assert sorted(drawn) == sorted(expected, key=lambda each: (each[0], each[1].expected))
    assert {text.get_text().split(",")[0] for text in axes.texts} == {model for model, _ in lines}
