"""docs/bench/growth.py: what it takes from a table of `ditbench bench`, and draws."""

import json
import runpy
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2] / "docs" / "bench"


@pytest.fixture
def growth(monkeypatch):
    """The names of the script."""
    monkeypatch.syspath_prepend(str(HERE))
    return runpy.run_path(str(HERE / "growth.py"))


def row(model="64x4x4/2", batch_size=16, flops=4e9, milliseconds=20.0, **facts):
    same = {"block": "adaln-zero", "implementation": "ditbench 0", "backend": "plain"}
    sizes = {"model": model, "input": "16x16x4", "batch_size": batch_size}
    numbers = {"train_flops_per_step": flops, "step_ms_median": milliseconds}
    return same | sizes | numbers | {"matmul_tflops_per_second": 0.5} | facts


def test_a_row_belongs_to_the_sweep_in_which_it_differs_from_the_centre(growth):
    rows = [row("64x8x4/2"), row("64x4x4/4"), row(), row(batch_size=4), row("64x4x4/1")]
    rows += [row("128x8x8/2"), row("64x4x4/2", input="8x8x4")]
    centre, found = growth["sweeps"](rows)
    assert centre == (64, 64, 4, 16)
    assert list(found) == ["tokens", "depth", "batch"]  # 128 wide is 8 deep
    size = growth["Size"].of
    values = {name: [getattr(size(each), name) for each in own] for name, own in found.items()}
    assert values == {"tokens": [16, 16, 64, 256], "depth": [4, 8], "batch": [4, 16]}


def test_a_line_of_equal_share_passes_a_point_of_that_share(growth):
    # 4 GFLOP in 20 ms are 0.2 TFLOP/s, and 40 GFLOP in 160 ms 0.25: 40% and 50% of 0.5.
    rows = [row(), row("64x8x4/2", flops=40e9, milliseconds=160.0)]
    rows += [each | {"implementation": "x 1", "block": "x"} for each in rows]
    (axes,) = growth["draw"](rows).axes
    *steps, full, half, last = axes.lines
    assert [list(line.get_xdata()) for line in steps] == [[4, 40], [4, 40]]
    assert [list(line.get_ydata()) for line in steps] == [[20, 160], [20, 160]]
    for line, share in ((full, 1.0), (half, 0.5), (last, 0.2)):
        for x, y in line.get_xydata():
            assert x / y == pytest.approx(share * 0.5)  # GFLOP per millisecond
    assert {text.get_text() for text in axes.texts} == {"4", "8", "100%", "50%", "20%"}
    assert axes.get_title() == "Depth L (T 64, D 64, B 16)"


def test_the_committed_table_has_all_panels(growth):
    rows = json.loads((HERE / "growth.json").read_text())
    assert len(growth["draw"](rows).axes) == 4
