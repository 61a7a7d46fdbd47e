from __future__ import annotations

import os

import numpy as np
import pytest
from matplotlib.colors import to_hex

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.report.gallery import samples_figure
from ditbench.report.plot import X_AXES, curves_figure, plot_curves, plot_samples
from ditbench.report.results import load_results
from ditbench.report.style import PAPER_BLOCKS, block_style, in_order

CURVES = {
    "adaln-zero": ((200.0, 60.0, 8.0), (210.0, 50.0, 9.0), (190.0, 40.0, 7.0)),
    "in-context": ((205.0, 90.0, 16.0), (195.0, 80.0, 15.0), (200.0, 85.0, 17.0)),
}


@pytest.fixture
def runs(make_run, results):
    for block, curves in CURVES.items():
        for seed, fids in enumerate(curves):
            make_run(block, seed, fids, rate=40.0 + 10 * seed)
    return load_results(results)


def _means(axes):
    """The mean line of each block, by its label."""
    return {line.get_label(): line for line in axes.lines if line.get_label()[0] != "_"}


def test_lines_are_the_data(runs):
    (axes,) = curves_figure(runs).axes
    assert list(_means(axes)) == ["In-Context", "adaLN-Zero"]  # the paper's order
    for block, curves in CURVES.items():
        mean = _means(axes)[block_style(block).label]
        np.testing.assert_array_equal(mean.get_xdata(), [400, 800, 1200])
        np.testing.assert_allclose(mean.get_ydata(), np.mean(curves, axis=0), rtol=1e-12)
        assert mean.get_marker() == block_style(block).marker
    thin = [line.get_ydata() for line in axes.lines if line.get_label()[0] == "_"]
    drawn = sorted(tuple(map(float, ydata)) for ydata in thin)
    assert drawn == sorted(fids for curves in CURVES.values() for fids in curves)


def test_the_band_spans_the_seeds(runs):
    (axes,) = curves_figure(runs).axes
    for band, block in zip(axes.collections, ("in-context", "adaln-zero"), strict=True):
        corners = band.get_paths()[0].vertices
        for n, step in enumerate((400, 800, 1200)):
            at_step = corners[corners[:, 0] == step][:, 1]
            fids = [curve[n] for curve in CURVES[block]]
            assert at_step.min() == min(fids)
            assert at_step.max() == max(fids)


def test_one_seed_has_no_band(runs):
    (axes,) = curves_figure(runs[runs["seed"] == 0]).axes
    assert len(axes.collections) == 0
    assert len(axes.lines) == 2


@pytest.mark.parametrize(
    ("x", "expected", "label"),
    [
        ("steps", [400, 800, 1200], "Training steps"),
        ("flops", [1.0752, 2.1504, 3.2256], "Training compute (TFLOPs)"),
        ("time", [400 * k / 3 * (1 / 40 + 1 / 50 + 1 / 60) for k in (1, 2, 3)], "(seconds)"),
    ],
)
def test_the_x_axis_says_what_it_counts(runs, x, expected, label):
    (axes,) = curves_figure(runs, x).axes
    np.testing.assert_allclose(_means(axes)["adaLN-Zero"].get_xdata(), expected, rtol=1e-9)
    assert label in axes.get_xlabel()


def test_long_training_is_counted_in_larger_units(make_run, results):
    make_run(budget__steps=400_000, rate=10.0)
    frame = load_results(results)
    for x, label, last in (("steps", "thousands", 400), ("time", "hours", 4e4 / 3600)):
        (axes,) = curves_figure(frame, x).axes
        assert label in axes.get_xlabel()
        assert _means(axes)["adaLN-Zero"].get_xdata()[-1] == pytest.approx(last)


def test_an_unknown_x_axis_names_the_nearest(runs):
    with pytest.raises(DitbenchError, match="x axis 'flop'") as caught:
        curves_figure(runs, "flop")
    assert "flops" in caught.value.hint
    assert set(X_AXES) == {"steps", "flops", "time"}


def test_the_axes_say_which_fid_and_of_what(runs):
    (axes,) = curves_figure(runs).axes
    assert axes.get_ylabel() == "FID-2K, digits features"
    assert axes.get_title(loc="left") == "digits 8x8x1, 64x4x4/2, flow"


def test_more_than_a_decade_is_drawn_on_a_log_scale(make_run, results):
    make_run("adaln", 0, (80.0, 9.0))
    assert curves_figure(load_results(results)).axes[0].get_yscale() == "linear"
    make_run("adaln", 1, (91.0, 9.0))
    assert curves_figure(load_results(results)).axes[0].get_yscale() == "log"


def test_a_panel_for_each_group_and_one_legend(make_run, results):
    for objective in ("flow", "ddpm"):
        for block in ("in-context", "adaln-zero"):
            make_run(block, 0, objective__name=objective)
    figure = curves_figure(load_results(results))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert sorted(titles) == ["digits 8x8x1, 64x4x4/2, ddpm", "digits 8x8x1, 64x4x4/2, flow"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["In-Context", "adaLN-Zero"]


def test_nothing_overlaps_and_nothing_is_clipped(runs):
    figure = curves_figure(runs)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    (legend,) = figure.legends
    legend_box = legend.get_window_extent()
    assert not legend_box.overlaps(axes.get_window_extent())
    # The title is set at the left: Axes.title is the centred one, which is empty.
    assert not legend_box.overlaps(axes._left_title.get_window_extent())
    for text in (axes.xaxis.label, axes.yaxis.label, axes._left_title, legend):
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1


def test_colours_belong_to_names(make_run, results):
    for block in ("adaln", "adaln-zero"):
        make_run(block, 0)
    both = load_results(results)
    (axes,) = curves_figure(both).axes
    (alone,) = curves_figure(both[both["block"] == "adaln-zero"]).axes
    for drawn in (axes, alone):
        assert to_hex(_means(drawn)["adaLN-Zero"].get_color()) == "#d55e00"
    assert len({style.colour for style in PAPER_BLOCKS.values()}) == 4
    assert len({style.marker for style in PAPER_BLOCKS.values()}) == 4
    unknown = block_style("my-own")
    assert unknown == block_style("my-own")
    assert unknown.label == "my-own"
    assert unknown.colour not in {style.colour for style in PAPER_BLOCKS.values()}


def test_blocks_stand_in_the_papers_order():
    names = ["zeta", "adaln-zero", "alpha", "adaln", "in-context", "cross-attention", "adaln"]
    expected = ["in-context", "cross-attention", "adaln", "adaln-zero", "alpha", "zeta"]
    assert in_order(names) == expected


MAGIC = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml", ".pdf": b"%PDF-"}


@pytest.mark.parametrize("suffix", MAGIC)
def test_the_suffix_makes_the_format_and_equal_data_equal_bytes(runs, tmp_path, suffix):
    first, second = tmp_path / f"new/folder/a{suffix}", tmp_path / f"b{suffix.upper()}"
    plot_curves(runs, first)
    plot_curves(runs, second)
    assert first.read_bytes().startswith(MAGIC[suffix])
    assert first.read_bytes() == second.read_bytes()
    assert os.listdir(first.parent) == [first.name]  # noqa: PTH208 - no temporary file is left


@pytest.mark.parametrize("draw", [plot_curves, plot_samples])
@pytest.mark.parametrize("name", ["figure.bmp", "figure"])
def test_an_unknown_suffix_is_refused(runs, tmp_path, draw, name):
    with pytest.raises(DitbenchError, match="unknown") as caught:
        draw(runs, tmp_path / name)
    assert ".svg" in caught.value.hint


def test_a_place_that_takes_no_writing_is_an_error(runs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DitbenchError, match="cannot write") as caught:
        plot_curves(runs, tmp_path / "file" / "figure.png")
    assert caught.value.exit_code == EXIT_FAILED


def test_no_runs_are_an_error(runs):
    for draw in (curves_figure, samples_figure):
        with pytest.raises(DitbenchError, match="no runs"):
            draw(runs.iloc[:0])
