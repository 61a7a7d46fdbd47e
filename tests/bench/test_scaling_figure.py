"""docs/bench/figure.py and the table in docs/appendix/scaling.md, from docs/bench/scaling.json."""

import json
import re
import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
ROWS = json.loads((DOCS / "bench" / "scaling.json").read_text("utf-8"))


def test_each_line_is_a_model_and_a_scaling_and_is_named():
    (axes,) = runpy.run_path(str(DOCS / "bench" / "figure.py"))["draw"](ROWS).axes
    lines = {(row["model"], row["scaling"]) for row in ROWS}
    assert len(axes.lines) == len(axes.texts) == len(lines)
    drawn = [tuple(point) for line in axes.lines for point in line.get_xydata()]
    expected = [(row["gpus"], pytest.approx(100 * row["efficiency"])) for row in ROWS]
    assert sorted(drawn) == sorted(expected, key=lambda each: (each[0], each[1].expected))
    assert {text.get_text().split(",")[0] for text in axes.texts} == {model for model, _ in lines}


def test_the_table_of_several_gpus_is_what_was_measured():
    text = (DOCS / "appendix" / "scaling.md").read_text("utf-8")
    found = [
        tuple(cell.strip() for cell in line.split("|"))
        for line in re.findall(
            r"^\| (\S+/\d \| (?:weak|strong)? \| [124] \|.+) \|$", text, re.MULTILINE
        )
    ]
    one = {row["model"]: row["images_per_second"] for row in ROWS if row["gpus"] == 1}
    expected = [
        (
            row["model"], row["scaling"] if row["gpus"] > 1 else "",
            str(row["gpus"]), str(row["batch_size"]),
            f"{row['step_ms_median']:.2f}", f"{row['images_per_second']:,.0f}",
            f"{row['images_per_second'] / one[row['model']]:.2f}", f"{row['efficiency']:.1%}",
            f"{row['all_reduce_share']:.1%}", f"{row['peak_memory_bytes'] / 2**30:.1f}",
        )
        for row in ROWS
        if row["gpus"] > 1 or row["scaling"] == "weak"
    ]  # fmt: skip
    assert found == expected
