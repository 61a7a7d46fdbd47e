"""The speeds in docs/performance.md are those in docs/bench/speed.json."""

import json
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
ROW = re.compile(r"^\| ([A-Z]+/\d), batch (\d+) \|(.+)\|$", re.MULTILINE)
COLUMNS = [
    ("adaln-zero", "kernels", "bf16-residual"),
    ("adaln-zero", "kernels", "bf16"),
    ("adaln-zero", "compile", "bf16"),
    ("adaln-zero", "plain", "bf16"),
    ("diffusers-compiled", "compile", "bf16"),
]


def test_the_table_of_backends_is_what_was_measured():
    found = {
        (row["model"], row["batch_size"], row["block"], row["backend"], row["precision"]): row
        for row in json.loads((DOCS / "bench" / "speed.json").read_text("utf-8"))
    }
    text = (DOCS / "performance.md").read_text("utf-8")
    rows = ROW.findall(text[text.index("## Backends") : text.index("## The residual stream")])
    assert [row[0] for row in rows] == ["S/4", "S/2", "B/2", "XL/2"]
    for model, batch, cells in rows:
        *times, share = (cell.strip() for cell in cells.split("|"))
        for cell, column in zip(times, COLUMNS, strict=True):
            row = found.pop((model, int(batch), *column), None)
            assert (row is None) == (cell == ""), (model, column)
            if row is not None:
                assert float(cell) == pytest.approx(row["step_ms_median"], rel=5e-3)
            if row is not None and column[1:] == ("kernels", "bf16"):
                assert float(share.rstrip("%")) == round(100 * row["share_of_matmul"])
    assert {key[2] for key in found} == {"cross-attention", "in-context"}  # said in the text
