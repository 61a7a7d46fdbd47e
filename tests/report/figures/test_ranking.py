"""Final scores as sorted points, with intervals and what is significantly worse."""

import numpy as np
import pytest
from boxes import named
from scipy import stats

from ditbench.report.figures.ranking import _significantly_worse, ranking_figure
from ditbench.report.figures.style import PAPER_BLOCKS, block_style
from ditbench.report.reading.results import load_results
from ditbench.report.statistics.compare import compare

FIDS = {
    "in-context": (30.0, 34.0, 32.0),
    "cross-attention": (20.0, 26.0, 22.0),
    "adaln": (18.2, 19.4, 18.7),
    "adaln-zero": (18.0, 19.0, 18.8),
}


@pytest.fixture
def runs(make_frame):
    return make_frame(FIDS)


def hollow(axes):
    markers = named(axes).items()
    return [label for label, line in markers if line.get_markerfacecolor() == "white"]


def test_blocks_are_sorted_with_their_means_and_numbers(runs):
    (axes,) = ranking_figure(runs).axes
    order = sorted(FIDS, key=lambda block: np.mean(FIDS[block]))
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        PAPER_BLOCKS[block].label for block in order
    ]
    for row, block in enumerate(order):
        ((x, y),) = named(axes)[PAPER_BLOCKS[block].label].get_xydata()
        assert (x, y) == (pytest.approx(np.mean(FIDS[block])), row)
    assert [text.get_text() for text in axes.texts] == [f"{np.mean(FIDS[b]):.2f}" for b in order]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the best is at the top
    assert axes.get_xlabel() == "FID-2K, digits features (lower is better)"


def test_what_is_significantly_worse_does_not_depend_on_a_baseline(runs):
    """So `ditbench plot` has no option for it."""
    found = [_significantly_worse(compare(runs, baseline)) for baseline in FIDS]
    assert found == [{"in-context"}] * len(FIDS)


def test_intervals_and_seeds(runs):
    (axes,) = ranking_figure(runs).axes
    for block, fids in FIDS.items():
        of_block = [line for line in axes.lines if line.get_color() == block_style(block).colour]
        (seeds,) = [line for line in of_block if line.get_marker() == "|"]
        assert sorted(seeds.get_xdata()) == sorted(fids)
        (bar,) = [line for line in of_block if len(line.get_xdata()) == 2]
        interval = stats.t.interval(0.95, 2, np.mean(fids), stats.sem(fids))
        np.testing.assert_allclose(bar.get_xdata(), np.clip(interval, *axes.get_xlim()))


def test_one_seed_has_no_interval(runs):
    (axes,) = ranking_figure(runs[runs["seed"] == 0]).axes
    assert all(len(line.get_xdata()) == 1 for line in axes.lines)


def test_an_interval_that_is_far_too_wide_does_not_set_the_limits(make_frame):
    frame = make_frame({"adaln": (20.0, 22.0), "adaln-zero": (18.0, 18.1)})
    (axes,) = ranking_figure(frame).axes
    assert axes.get_xlim()[0] > 14  # of adaLN, the interval begins at 8.3
    assert axes.get_xlim()[1] < 25


def test_what_is_significantly_worse_is_hollow(runs):
    verdict = compare(runs).verdict
    worse = {rival.block for rival in verdict.rivals if rival.significant}
    assert (verdict.winner, worse) == (None, {"in-context"})
    figure = ranking_figure(runs)
    assert hollow(figure.axes[0]) == ["In-Context"]
    (legend,) = figure.legends
    assert "significantly worse" in [text.get_text() for text in legend.get_texts()]


def test_beside_a_winner_all_others_are_hollow(runs):
    """A winner is better than each other, at 5%; single statements are Bonferroni-corrected."""
    for block, worse in (("cross-attention", 1.2), ("adaln", 1.1)):
        fids = worse * runs["fid"][runs["block"] == "adaln"].array
        runs.loc[runs["block"] == block, "fid"] = fids
    assert compare(runs).verdict.winner == "adaln-zero"
    (axes,) = ranking_figure(runs).axes
    assert hollow(axes) == list(named(axes))[1:]


@pytest.mark.parametrize("adaln", [18.0, 23.0])
def test_spikes_change_what_is_hollow_only_where_they_forbid_a_winner(make_frame, adaln):
    """Where there is no winner anyway, hollow are the blocks that the sentence does not count."""
    fids = {"adaln-zero": (18.0, 19.0, 18.5), "in-context": (20.0, 21.1, 20.6)}
    runs = make_frame(fids | {"adaln": (adaln, adaln + 1.4, adaln + 0.7)})
    runs.loc[(runs["block"] == "in-context") & (runs["seed"] == 0), "loss_spike"] = 1.5
    comparison = compare(runs)
    verdict = comparison.verdict
    assert [rival.block for rival in verdict.more_spikes] == ["in-context"]
    assert verdict.winner is None
    assert (verdict.best is None) == (adaln == 18.0)
    if verdict.best is None:
        assert "not distinguishable from 1 of 2" in comparison.sentence
        assert _significantly_worse(comparison) == {"in-context"}
    else:
        assert _significantly_worse(comparison) == {"adaln"}


def test_nothing_is_hollow_where_the_comparison_is_exploratory(runs):
    figure = ranking_figure(runs.assign(planned_seeds=5.0))
    assert not figure.legends
    assert not hollow(figure.axes[0])


def test_few_images_are_ranked_by_kid(make_run, results):
    few = {"real_images": 300, "metrics__features": "efficientnet-lite0"}
    for block, kid in (("adaln", 0.02), ("adaln-zero", 0.03)):
        for seed in range(3):
            make_run(block, seed, (90.0,), kid=kid + seed / 1000, **few)
    frame = load_results(results)
    assert compare(frame).decided_by == "kid"
    (axes,) = ranking_figure(frame).axes
    assert axes.get_xlabel().startswith("KID-2K")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["adaLN", "adaLN-Zero"]


def test_each_group_has_a_panel_with_rows_of_equal_height(make_run, results):
    for objective, blocks in (("flow", "abc"), ("ddpm", "ab")):
        for block in blocks:
            make_run(block, 0, objective__name=objective)
    figure = ranking_figure(load_results(results))
    assert len(figure.axes) == 2
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    assert sum("lower is better" in axes.get_xlabel() for axes in figure.axes) == 1
