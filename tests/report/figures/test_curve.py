from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from boxes import assert_apart, named
from matplotlib.colors import to_hex
from matplotlib.text import Text
from scipy import stats

from ditbench.errors import DitbenchError
from ditbench.report.figures.curve import X_AXES, curve_figure
from ditbench.report.figures.pareto import pareto_figure
from ditbench.report.figures.ranking import ranking_figure
from ditbench.report.figures.style import PAPER_BLOCKS, block_style
from ditbench.report.reading.results import load_results

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


def test_lines_are_the_data(runs):
    (axes,) = curve_figure(runs).axes
    assert list(named(axes)) == ["In-Context", "adaLN-Zero"]  # the paper's order
    for block, curves in CURVES.items():
        mean = named(axes)[block_style(block).label]
        np.testing.assert_array_equal(mean.get_xdata(), [400, 800, 1200])
        np.testing.assert_allclose(mean.get_ydata(), np.mean(curves, axis=0), rtol=1e-12)
        assert mean.get_marker() == block_style(block).marker
    thin = [line.get_ydata() for line in axes.lines if line.get_label()[0] == "_"]
    drawn = sorted(tuple(map(float, ydata)) for ydata in thin)
    assert drawn == sorted(fids for curves in CURVES.values() for fids in curves)


def test_the_band_is_the_95_percent_interval_of_the_mean(runs):
    (axes,) = curve_figure(runs).axes
    for band, block in zip(axes.collections, ("in-context", "adaln-zero"), strict=True):
        corners = band.get_paths()[0].vertices
        for n, step in enumerate((400, 800, 1200)):
            fids = [curve[n] for curve in CURVES[block]]
            interval = stats.t.interval(0.95, 2, np.mean(fids), stats.sem(fids))
            at_step = corners[corners[:, 0] == step][:, 1]
            expected = np.clip(interval, *axes.get_ylim())
            np.testing.assert_allclose((at_step.min(), at_step.max()), expected, rtol=1e-9)


@pytest.mark.parametrize("seeds", [1, 2])
def test_an_interval_of_few_seeds_is_not_drawn(runs, seeds):
    (axes,) = curve_figure(runs[runs["seed"] < seeds]).axes
    assert len(axes.collections) == 0
    assert len(axes.lines) == (2 if seeds == 1 else 6)


def test_seeds_are_drawn_if_they_and_the_blocks_are_few(make_run, results):
    blocks = ["adaln", *"abcdef"]
    for block in blocks:
        for seed in range(5 if block == "adaln" else 3):
            make_run(block, seed, (80.0, 30.0 + seed))
    frame = load_results(results)
    (six,) = curve_figure(frame[frame["block"] != "f"]).axes
    assert len(six.lines) == 6 + 5 * 3  # of adaLN, the mean of five seeds only
    (seven,) = curve_figure(frame).axes
    assert len(seven.lines) == 7


@pytest.mark.parametrize(
    ("x", "expected", "label"),
    [
        ("steps", [400, 800, 1200], "Training steps"),
        ("flops", [1.0752, 2.1504, 3.2256], "Training compute (TFLOPs)"),
        ("time", [400 * k / 3 * (1 / 40 + 1 / 50 + 1 / 60) for k in (1, 2, 3)], "(seconds)"),
    ],
)
def test_the_x_axis_says_what_it_counts(runs, x, expected, label):
    (axes,) = curve_figure(runs, x).axes
    np.testing.assert_allclose(named(axes)["adaLN-Zero"].get_xdata(), expected, rtol=1e-9)
    assert label in axes.get_xlabel()


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (1200, ["0", "400", "800", "1,200"]),
        (20_000, ["0", "5k", "10k", "15k", "20k"]),
        (400_000, ["0", "100k", "200k", "300k", "400k"]),
        (4_000_000, ["0", "1M", "2M", "3M", "4M"]),
    ],
)
def test_steps_are_counted_in_thousands_and_millions(make_run, results, steps, expected):
    make_run(budget__steps=steps)
    figure = curve_figure(load_results(results))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert named(axes)["adaLN-Zero"].get_xdata()[-1] == steps
    assert [label.get_text() for label in axes.get_xticklabels()] == expected


def test_long_training_is_counted_in_hours(make_run, results):
    make_run(budget__steps=400_000, rate=10.0)
    (axes,) = curve_figure(load_results(results), "time").axes
    assert "hours" in axes.get_xlabel()
    assert named(axes)["adaLN-Zero"].get_xdata()[-1] == pytest.approx(4e4 / 3600)


def test_an_unknown_x_axis_names_the_nearest(runs):
    with pytest.raises(DitbenchError, match="x axis 'flop'") as caught:
        curve_figure(runs, "flop")
    assert "flops" in caught.value.hint
    assert set(X_AXES) == {"steps", "flops", "time"}


def test_the_axes_say_which_fid_and_of_what(runs):
    (axes,) = curve_figure(runs).axes
    assert axes.get_ylabel() == "FID-2K, digits features\n(lower is better)"
    assert axes.get_title(loc="left") == "digits 8x8x1, 64x4x4/2, flow"


def test_a_spread_of_four_is_drawn_on_a_log_scale(make_run, results):
    make_run("adaln", 0, (35.9, 9.0))
    (axes,) = curve_figure(load_results(results)).axes
    assert axes.get_yscale() == "linear"
    assert axes.get_ylim() == pytest.approx((9 - 0.06 * 26.9, 35.9 + 0.06 * 26.9))
    make_run("adaln", 1, (36.0, 9.0))
    figure = curve_figure(load_results(results))
    assert figure.axes[0].get_yscale() == "log"
    figure.draw_without_rendering()
    low, high = figure.axes[0].get_ylim()
    shown = [tick for tick in figure.axes[0].get_yticks() if low <= tick <= high]
    assert shown == [10, 20, 30]


def test_a_panel_for_each_group_and_lower_is_better_once(make_run, results):
    for objective in ("flow", "ddpm"):
        for block in ("in-context", "adaln-zero"):
            make_run(block, 0, objective__name=objective)
    figure = curve_figure(load_results(results))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert sorted(titles) == ["digits 8x8x1, 64x4x4/2, ddpm", "digits 8x8x1, 64x4x4/2, flow"]
    assert sum("lower is better" in axes.get_ylabel() for axes in figure.axes) == 1
    assert not figure.legends
    for axes in figure.axes:
        assert [text.get_text() for text in axes.texts] == ["In-Context", "adaLN-Zero"]


@pytest.mark.parametrize("name", ["adaln", "x" * 30])
def test_a_name_that_is_too_long_for_the_end_of_a_line_is_in_a_legend(make_run, results, name):
    make_run(name, 0)
    figure = curve_figure(load_results(results))
    assert len(figure.legends) == (name != "adaln")
    assert len(figure.axes[0].texts) == (name == "adaln")


@pytest.mark.parametrize(
    "ends", [(9.0, 9.0, 9.0, 9.0), (9.0, 9.1, 60.0, 61.0), (9.0, 50.0, 52.0, 8.9)]
)
def test_nothing_overlaps_and_nothing_is_clipped(make_run, results, ends):
    for block, end in zip(PAPER_BLOCKS, ends, strict=True):
        make_run(block, 0, (70.0, end))
    figure = curve_figure(load_results(results))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    # The title is set at the left: Axes.title is the centred one, which is empty.
    parts = [axes.xaxis.label, axes.yaxis.label, axes._left_title]
    names = [Text.get_window_extent(text) for text in axes.texts]  # without their leaders
    assert_apart([axes.bbox, *names, *(part.get_window_extent() for part in parts)], figure)


def test_colours_belong_to_names(make_run, results):
    for block in ("adaln", "adaln-zero"):
        make_run(block, 0)
    both = load_results(results)
    (axes,) = curve_figure(both).axes
    (alone,) = curve_figure(both[both["block"] == "adaln-zero"]).axes
    for drawn in (axes, alone):
        assert to_hex(named(drawn)["adaLN-Zero"].get_color()) == "#d55e00"


@pytest.fixture
def uneven(runs):
    """Seed 1 is slower, as under a budget of seconds: no step is common to all seeds."""
    slow = runs["seed"] == 1
    runs.loc[slow, "step"] -= 130 * runs.loc[slow, "step"] // 1200 + 1
    runs.loc[slow, "train_flops"] *= 0.9
    return runs


@pytest.mark.parametrize(("x", "column", "unit"), [("steps", "step", 1), ("time", "seconds", 1),
                                                   ("flops", "train_flops", 1e12)])  # fmt: skip
def test_seeds_are_averaged_evaluation_by_evaluation(uneven, x, column, unit):
    (axes,) = curve_figure(uneven, x).axes
    for block in CURVES:
        runs = uneven[uneven["block"] == block]
        by_seed = [run for _, run in runs.groupby("seed")]
        mean = named(axes)[block_style(block).label]
        where = np.mean([run[column].to_numpy() / unit for run in by_seed], axis=0)
        np.testing.assert_allclose(mean.get_xdata(), where, rtol=1e-12)
        fid = np.mean([run["fid"].to_numpy() for run in by_seed], axis=0)
        np.testing.assert_allclose(mean.get_ydata(), fid, rtol=1e-12)
        for run in by_seed:  # each seed at its own steps
            assert any(
                np.array_equal(line.get_ydata(), run["fid"])
                and np.allclose(line.get_xdata(), run[column] / unit, rtol=1e-12)
                for line in axes.lines
            )


def test_an_evaluation_that_a_seed_lacks_is_left_out_of_the_mean_alone(runs):
    short = runs[~((runs["seed"] == 2) & (runs["step"] == 1200))]
    (axes,) = curve_figure(short).axes
    mean = named(axes)["adaLN-Zero"]
    np.testing.assert_allclose(mean.get_ydata(), np.mean(CURVES["adaln-zero"], axis=0)[:2])
    assert sum(len(line.get_ydata()) == 3 for line in axes.lines) == 4  # two blocks, two seeds


def test_the_order_of_rows_does_not_matter(uneven):
    (axes,) = curve_figure(uneven).axes
    (shuffled,) = curve_figure(uneven.sample(frac=1, random_state=0)).axes
    for label, line in named(axes).items():
        np.testing.assert_allclose(named(shuffled)[label].get_xydata(), line.get_xydata())


def test_seconds_of_different_devices_are_left_out(make_run, results):
    make_run("adaln", 0, device="cpu")
    make_run("adaln", 1, device="H100")
    frame = load_results(results)
    assert len(curve_figure(frame, "steps").axes[0].lines) == 3
    with pytest.raises(DitbenchError, match="different devices") as caught:
        curve_figure(frame, "time")
    assert "--x steps" in caught.value.hint
    make_run("adaln", 0, objective__name="ddpm")
    skipped = []
    (axes,) = curve_figure(load_results(results), "time", skipped=skipped.append).axes
    assert axes.get_title(loc="left").endswith("ddpm")
    assert skipped == ["training time of digits 8x8x1, 64x4x4/2, flow: runs on different devices"]


MANY = (
    *("in-context", "cross-attention", "adaln", "adaln-zero", "adaln-single", "u-vit"),
    *("in-context-class", "none", "mine", "yours", "a-block-with-a-long-name", "x"),
)


@pytest.mark.parametrize("make", [curve_figure, pareto_figure, ranking_figure])
@pytest.mark.parametrize("models", [("S/8",), ("S/8", "S/4", "B/4", "B/2")])
def test_nothing_overlaps_however_many_groups_and_blocks(runs, make, models):
    base = runs[runs["block"] == "adaln-zero"]
    frames = [
        base.assign(block=name, model=model, fingerprint=name + model, fid=base["fid"] + n)
        for n, name in enumerate(MANY)
        for model in models
    ]
    figure = make(pd.concat(frames, ignore_index=True), paper=len(models) > 1)
    figure.draw_without_rendering()
    of_group = 2 if make is pareto_figure else 1
    assert len(figure.axes) == len(models) * of_group + (len(models) > 1)
    if make is curve_figure:
        assert len(figure.legends[0].get_texts()) == len(MANY)
    titles = [text for cell in figure.subfigs for text in cell.texts]
    boxes = [artist.get_window_extent() for artist in (*figure.legends, *titles)]
    boxes += [axes.get_tightbbox() for axes in figure.axes]  # with labels and titles
    assert_apart(boxes, figure)
    for axes in figure.axes:
        for n, (labels, (low, high)) in enumerate(
            ((axes.get_xticklabels(), axes.get_xlim()), (axes.get_yticklabels(), axes.get_ylim()))
        ):
            inside = [label for label in labels if low <= label.get_position()[n] <= high]
            shown = [label.get_window_extent() for label in inside if label.get_visible()]
            assert not any(one.overlaps(next_) for one, next_ in pairwise(shown))


def test_the_title_names_the_sampling_steps_of_the_curve_where_the_verdict_has_others(runs):
    (axes,) = curve_figure(runs.assign(sampling_steps=250, curve_sampling_steps=50)).axes
    assert "50 sampling steps" in axes.get_title("left").replace("\n", " ")
