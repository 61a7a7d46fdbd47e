import numpy as np
import pandas as pd
import pytest
from boxes import assert_apart, named
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ditbench.report.figures.pareto import pareto_figure, pareto_front
from ditbench.report.figures.style import PAPER_BLOCKS, block_style
from ditbench.report.reading.results import load_results

FIDS = {
    "in-context": (30.0, 34.0),
    "cross-attention": (20.0, 26.0),
    "adaln": (21.0, 23.0),
    "adaln-zero": (18.0, 19.0),
}


@pytest.fixture
def runs(make_run, results):
    for number, (block, fids) in enumerate(FIDS.items()):
        for seed, fid in enumerate(fids):
            make_run(block, seed, (100.0, fid), rate=40.0 + 5 * seed + 3 * number)
    return load_results(results)


def _place(marker):
    return tuple(marker.get_xydata()[0])


def _is_pale(marker):
    return marker.get_alpha() < 0.5


# Few values, so that ties are many.
_VALUES = st.integers(0, 6).map(float)


@given(st.lists(st.tuples(_VALUES, _VALUES), max_size=12))
def test_the_front_is_the_lowest_fid_up_to_each_cost(points):
    """A front computed another way: along costs, the running minimum of FID, where it falls."""
    expected, lowest = set(), float("inf")
    for cost, fid in sorted(points):
        if fid < lowest:
            expected.add((cost, fid))
            lowest = fid
    front = pareto_front([cost for cost, _ in points], [fid for _, fid in points])
    assert front == [point in expected for point in points]


def test_markers_are_the_means_over_seeds(runs):
    above, below = pareto_figure(runs).axes
    final = runs[runs["final"]]
    for block in FIDS:
        of = final[final["block"] == block]
        label = block_style(block).label
        fid = np.mean(FIDS[block])
        gmacs, seconds = of["gmacs"].iloc[0], of["seconds"].mean()
        assert _place(named(above)[label]) == pytest.approx((1000 * gmacs, fid))
        assert _place(named(below)[label]) == pytest.approx((seconds, fid))


def test_bars_are_the_95_percent_intervals_of_the_means(make_frame):
    fids = {"adaln": (20.0, 21.0, 24.0), "adaln-zero": (15.0, 17.0, 16.0)}
    for axes in pareto_figure(make_frame(fids | {"in-context": (18.0,)})).axes:
        low, high = axes.get_ylim()
        colours = {line.get_color(): line for line in axes.lines if len(line.get_xdata()) == 2}
        for block, of_seeds in fids.items():
            bar = colours[block_style(block).colour].get_ydata()
            interval = stats.t.interval(0.95, 2, np.mean(of_seeds), stats.sem(of_seeds))
            np.testing.assert_allclose(bar, np.clip(interval, low, high))
        assert block_style("in-context").colour not in colours


def test_the_front_is_joined_by_steps_and_the_rest_is_pale(runs):
    figure = pareto_figure(runs)
    final = runs[runs["final"]]
    for axes, cost, unit in zip(figure.axes, ("gmacs", "seconds"), (1000, 1), strict=True):
        means = final.groupby("block").agg(cost=(cost, "mean"), fid=("fid", "mean"))
        means["cost"] *= unit
        front = {
            block
            for block, point in means.iterrows()
            if not any(
                other.cost <= point.cost and other.fid <= point.fid
                for name, other in means.iterrows()
                if name != block
            )
        }
        strong = {label for label, marker in named(axes).items() if not _is_pale(marker)}
        assert strong == {block_style(block).label for block in front}
        (step,) = [line for line in axes.lines if len(line.get_xdata()) > 2]
        on_front = means.loc[list(front)].sort_values("cost")
        corners = step.get_xydata()
        np.testing.assert_allclose(corners[1:-1:2], on_front.to_numpy())
        # From edge to edge: nothing cheaper or better than the front is available.
        assert tuple(corners[0]) == (corners[1][0], axes.get_ylim()[1])
        assert tuple(corners[-1]) == (axes.get_xlim()[1], corners[-2][1])


def test_all_of_few_blocks_are_named_and_of_many_those_on_the_front(runs):
    (names, _) = [{text.get_text() for text in axes.texts} for axes in pareto_figure(runs).axes]
    assert names == {style.label for style in PAPER_BLOCKS.values()}
    worse = [
        runs[runs["block"] == "adaln"].assign(block=name, fid=50.0, gmacs=0.01, seconds=900)
        for name in "abc"
    ]
    for axes in pareto_figure(pd.concat([runs, *worse])).axes:
        strong = {label for label, marker in named(axes).items() if not _is_pale(marker)}
        assert {text.get_text() for text in axes.texts} == strong
        assert 0 < len(strong) < 4


def test_names_do_not_overlap_and_stay_within_the_axes(runs):
    figure = pareto_figure(runs)
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.texts]
        assert_apart(boxes, figure)
        assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)


def test_the_axes_say_what_they_count(runs):
    above, below = pareto_figure(runs).axes
    assert above.get_xlabel() == "Forward pass (MMACs)"
    assert below.get_xlabel() == "Measured training time (seconds)"
    assert above.get_ylabel() == "FID-2K, digits features\n(lower is better)"
    assert below.get_ylabel() == "FID-2K, digits features"  # said once
    assert above.get_ylim() == below.get_ylim()
    assert {axes.get_xscale() for axes in (above, below)} == {"log"}
    assert {axes.get_yscale() for axes in (above, below)} == {"log"}
    larger, _ = pareto_figure(runs.assign(gmacs=runs["gmacs"] * 1000)).axes
    assert larger.get_xlabel() == "Forward pass (GMACs, the paper's Gflops)"


def test_long_training_is_counted_in_hours(make_run, results):
    make_run("adaln", 0, (9.0,), budget__steps=400_000, rate=10.0)
    _, below = pareto_figure(load_results(results)).axes
    assert "hours" in below.get_xlabel()
    assert _place(named(below)["adaLN"])[0] == pytest.approx(4e4 / 3600)


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("device", "H100", "runs on different devices"),
        ("shared_cpu_workers", 2, "runs that shared a cpu"),
    ],
)
def test_a_panel_of_seconds_that_are_not_comparable_is_left_out(runs, column, value, why):
    runs.loc[(runs["block"] == "adaln") & (runs["seed"] == 1), column] = value
    skipped = []
    (axes,) = pareto_figure(runs, skipped=skipped.append).axes
    assert len(named(axes)) == 4
    assert skipped == [f"training time of digits 8x8x1, 64x4x4/2, flow: {why}"]


def test_all_points_are_within_the_limits(runs):
    runs.loc[runs["block"] == "cross-attention", "gmacs"] *= 20
    for axes in pareto_figure(runs).axes:
        (low, high), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        places = map(_place, named(axes).values())
        assert all(low < x < high and bottom < y < top for x, y in places)


def test_equal_fids_need_no_range(make_frame):
    frame = make_frame({"adaln": (7.1, 7.1, 7.1)})  # the mean of three 7.1 is not 7.1
    above, _ = pareto_figure(frame).axes
    assert _place(named(above)["adaLN"])[1] == pytest.approx(7.1)


def test_a_fid_of_zero_has_a_linear_axis(make_frame):
    above, _ = pareto_figure(make_frame({"adaln": (0.0,), "adaln-zero": (5.0,)})).axes
    assert above.get_yscale() == "linear"


def test_each_group_has_a_pair_of_panels_and_one_legend_says_what_is_pale(make_run, results):
    for objective in ("flow", "ddpm"):
        for block in ("in-context", "mine"):
            make_run(block, 0, objective__name=objective)
    figure = pareto_figure(load_results(results))
    titles = {cell.get_suptitle() for cell in figure.subfigs}
    assert titles == {"digits 8x8x1, 64x4x4/2, ddpm", "digits 8x8x1, 64x4x4/2, flow"}
    assert [len(cell.axes) for cell in figure.subfigs] == [2, 2]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["on the Pareto front", "dominated"]
