"""The published numbers in figures; no measured number shares their axes."""

from __future__ import annotations

import numpy as np
import pytest

from ditbench.report.figures.curve import curve_figure
from ditbench.report.figures.pareto import pareto_figure
from ditbench.report.figures.style import PAPER_BLOCKS, marker_size
from ditbench.report.reading.results import load_results

# Peebles & Xie 2022, Table 4, DiT-XL/2 at 400K steps: GMACs, parameters in millions, FID-50K.
TABLE_4 = {
    "in-context": (119.37, 449, 35.24),
    "cross-attention": (137.62, 598, 26.14),
    "adaln": (118.56, 600, 25.21),
    "adaln-zero": (118.64, 675, 19.47),
}
TITLE = "Peebles & Xie 2022, Table 4: DiT-XL/2, ImageNet 256x256, 400K steps"
FID = "FID-50K, Inception features (the paper's)"


@pytest.fixture
def runs(make_run, results):
    for seed in (0, 1):
        make_run("adaln", seed, (90.0, 30.0 + seed))
    return load_results(results)


def _flat(text):
    return text.replace("\n", " ")


def test_curves_get_a_panel_of_published_fids(runs):
    measured, paper = curve_figure(runs, paper=True).axes
    (alone,) = curve_figure(runs).axes
    assert len(measured.lines) == len(alone.lines)
    assert measured.get_ylim() == alone.get_ylim()
    assert _flat(paper.get_title(loc="left")) == TITLE
    assert _flat(paper.get_ylabel()) == FID
    assert not paper.get_shared_y_axes().joined(measured, paper)
    for place, (line, (block, (_, _, fid))) in enumerate(
        zip(paper.lines, TABLE_4.items(), strict=True)
    ):
        assert line.get_xydata().tolist() == [[place, fid]]
        assert line.get_color() == PAPER_BLOCKS[block].colour
        assert line.get_marker() == PAPER_BLOCKS[block].marker
    assert [text.get_text() for text in paper.texts] == ["35.24", "26.14", "25.21", "19.47"]
    names = [label.get_text().replace("\n", "") for label in paper.get_xticklabels()]
    assert names == [style.label for style in PAPER_BLOCKS.values()]


def test_pareto_gets_a_panel_of_published_costs(runs):
    figure = pareto_figure(runs, paper=True)
    *_, cell = figure.subfigs
    (axes,) = cell.axes
    assert _flat(cell.get_suptitle()) == TITLE
    assert _flat(axes.get_ylabel()) == FID
    assert axes.get_xlabel() == "Forward GMACs (the paper's Gflops)"
    drawn = {marker.get_label(): marker for marker in axes.collections}
    assert len(drawn) == 4
    areas = []
    for block, (gmacs, parameters, fid) in TABLE_4.items():
        style = PAPER_BLOCKS[block]
        marker = drawn[style.label]
        assert tuple(marker.get_offsets()[0]) == (gmacs, fid)
        areas.append(marker.get_sizes()[0] / marker_size(style.marker) ** 2 / parameters)
    np.testing.assert_allclose(areas, areas[0])
    hollow = {label for label, marker in drawn.items() if (marker.get_facecolor() == 1).all()}
    assert hollow == {"In-Context", "Cross-Attention"}
    # All four are in the legend, though one alone was measured.
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels[:4] == [style.label for style in PAPER_BLOCKS.values()]
    (key,) = cell.legends
    texts = [text.get_text() for text in key.get_texts()]
    assert texts == ["449 M parameters", "675 M parameters"]


def test_the_papers_panel_is_there_once_however_many_groups(make_run, results):
    for objective in ("flow", "ddpm"):
        make_run("adaln", 0, objective__name=objective)
    frame = load_results(results)
    assert len(curve_figure(frame, paper=True).axes) == 3
    assert len(pareto_figure(frame, paper=True).axes) == 5
