from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from ditbench.report.figures.pareto import pareto_figure, pareto_front
from ditbench.report.figures.style import PAPER_BLOCKS, block_style, marker_size
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


def _markers(axes):
    """The marker of each block, by its label."""
    return {marker.get_label(): marker for marker in axes.collections}


def _place(marker):
    return tuple(marker.get_offsets()[0])


def _is_filled(marker):
    return to_hex(marker.get_facecolor()[0]) == to_hex(marker.get_edgecolor()[0])


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


def test_equal_points_are_on_the_front_together():
    assert pareto_front([1, 1, 1, 2], [5, 5, 6, 5]) == [True, True, False, False]


def test_markers_are_the_means_over_seeds(runs):
    left, right = pareto_figure(runs).axes
    final = runs[runs["final"]]
    for block in FIDS:
        of = final[final["block"] == block]
        label = block_style(block).label
        fid = np.mean(FIDS[block])
        assert _place(_markers(left)[label]) == pytest.approx((of["gmacs"].iloc[0], fid))
        assert _place(_markers(right)[label]) == pytest.approx((of["seconds"].mean(), fid))


def test_bars_span_the_seeds(runs):
    final = runs[runs["final"]]
    for axes, cost in zip(pareto_figure(runs).axes, ("gmacs", "seconds"), strict=True):
        for block, fids in FIDS.items():
            of = final[final["block"] == block][cost]
            colour = block_style(block).colour
            bars = [line for line in axes.lines if line.get_color() == colour]
            (up,) = [bar for bar in bars if np.ptp(bar.get_ydata())]
            (across,) = [bar for bar in bars if bar is not up]
            assert (min(up.get_ydata()), max(up.get_ydata())) == fids
            assert tuple(across.get_xdata()) == pytest.approx((of.min(), of.max()))


def test_the_front_is_filled_and_joined_by_steps(runs):
    left, right = pareto_figure(runs).axes
    final = runs[runs["final"]]
    for axes, cost in ((left, "gmacs"), (right, "seconds")):
        means = final.groupby("block").agg(cost=(cost, "mean"), fid=("fid", "mean"))
        front = {
            block
            for block, point in means.iterrows()
            if not any(
                other.cost <= point.cost and other.fid <= point.fid
                for name, other in means.iterrows()
                if name != block
            )
        }
        filled = {label for label, marker in _markers(axes).items() if _is_filled(marker)}
        assert filled == {block_style(block).label for block in front}
        (step,) = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
        on_front = means.loc[list(front)].sort_values("cost")
        inner = step.get_xydata()[1:-1]
        np.testing.assert_allclose(inner, on_front.to_numpy())
        # From edge to edge: nothing cheaper or better than the front is available.
        assert tuple(step.get_xydata()[0]) == (inner[0][0], axes.get_ylim()[1])
        assert tuple(step.get_xydata()[-1]) == (axes.get_xlim()[1], inner[-1][1])


def test_the_area_of_a_marker_is_proportional_to_parameters(runs):
    figure = pareto_figure(runs)
    parameters = runs.groupby("block")["parameters"].first()
    for axes in figure.axes:
        ratios = [
            _markers(axes)[style.label].get_sizes()[0]
            / marker_size(style.marker) ** 2
            / parameters[block]
            for block, style in PAPER_BLOCKS.items()
        ]
        np.testing.assert_allclose(ratios, ratios[0])
        largest_first = ["adaLN-Zero", "adaLN", "Cross-Attention", "In-Context"]
        assert list(_markers(axes)) == largest_first  # in the order of drawing
    (cell,) = figure.subfigs
    (key,) = cell.legends
    texts = [text.get_text() for text in key.get_texts()]
    assert texts == ["0.215 M parameters", "0.345 M parameters"]
    sizes = [handle.get_markersize() ** 2 for handle in key.legend_handles]
    expected = marker_size("o") ** 2 * ratios[0] * np.array([215_000, 345_000])
    np.testing.assert_allclose(sizes, expected)


def test_the_axes_say_what_they_count(runs):
    left, right = pareto_figure(runs).axes
    assert left.get_xlabel().replace("\n", " ") == "Forward GMACs (the paper's Gflops)"
    assert right.get_xlabel().replace("\n", " ") == "Measured training time (seconds)"
    assert left.get_ylabel().replace("\n", " ") == "FID-2K, digits features"
    assert left.get_ylim() == right.get_ylim()


def test_long_training_is_counted_in_hours(make_run, results):
    make_run("adaln", 0, (9.0,), budget__steps=400_000, rate=10.0)
    _, right = pareto_figure(load_results(results)).axes
    assert "hours" in right.get_xlabel()
    assert _place(_markers(right)["adaLN"])[0] == pytest.approx(4e4 / 3600)


def test_seconds_of_different_devices_are_left_out_with_the_reason(runs):
    runs.loc[(runs["block"] == "adaln") & (runs["seed"] == 1), "device"] = "H100"
    left, right = pareto_figure(runs).axes
    assert len(left.collections) == 4
    assert not right.collections
    assert not right.lines
    (text,) = right.texts
    assert "different devices" in text.get_text().replace("\n", " ")
    assert len(left.get_yticks()) > 0


def test_so_are_those_of_runs_that_shared_a_cpu(runs):
    runs.loc[runs["block"] == "adaln", "shared_cpu_workers"] = 2
    _, right = pareto_figure(runs).axes
    (text,) = right.texts
    assert text.get_text().replace("\n", " ").startswith("Runs that shared a CPU: their seconds")


def test_costs_that_pass_a_factor_of_ten_are_logarithmic(runs):
    runs.loc[runs["block"] == "cross-attention", "gmacs"] *= 20
    left, right = pareto_figure(runs).axes
    assert (left.get_xscale(), left.get_yscale(), right.get_xscale()) == ("log", "linear", "linear")
    for axes in (left, right):
        (low, high), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        for x, y in map(_place, axes.collections):
            assert low < x < high
            assert bottom < y < top


def test_equal_fids_need_no_range(make_run, results):
    for seed in range(3):
        make_run("adaln", seed, (7.1,))  # the mean of three 7.1 is not 7.1
    left, _ = pareto_figure(load_results(results)).axes
    assert _place(_markers(left)["adaLN"])[1] == pytest.approx(7.1)


def test_each_group_has_a_pair_of_panels_and_one_legend_names_the_blocks(make_run, results):
    for objective in ("flow", "ddpm"):
        for block in ("in-context", "mine"):
            make_run(block, 0, objective__name=objective)
    figure = pareto_figure(load_results(results))
    titles = {cell.get_suptitle() for cell in figure.subfigs}
    assert titles == {"digits 8x8x1, 64x4x4/2, ddpm", "digits 8x8x1, 64x4x4/2, flow"}
    assert [len(cell.axes) for cell in figure.subfigs] == [2, 2]
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["In-Context", "mine", "on the Pareto front", "dominated"]
