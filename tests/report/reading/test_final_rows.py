"""Runs with a final.csv: what a table, a curve and a target take from it."""

import pytest

from ditbench.errors import DitbenchError
from ditbench.report.figures.curve import curve_figure
from ditbench.report.reading.groups import differences
from ditbench.report.reading.results import load_results
from ditbench.report.reading.run import read_run
from ditbench.report.statistics.compare import compare

CURVE = (200.0, 50.0, 20.0)


@pytest.fixture
def frame(make_run, results):
    """Curves with 25 sampling steps that end at 20, and final scores with 250 of 8 on average."""
    for seed in (0, 1):
        steps = {"eval__final_sampling_steps": 250}
        make_run("adaln", seed, CURVE, draws=(7.0, 9.0), **steps)
        make_run("in-context", seed, CURVE, draws=(10.0, 14.0), **steps)
    return load_results(results)


def test_there_is_one_final_row_the_mean_over_draws(frame):
    assert len(frame) == 4 * 4
    first = frame.iloc[:4]
    assert first["final"].tolist() == [False, False, False, True]
    assert first["curve"].tolist() == [True, True, True, False]
    assert first["fid"].tolist() == [*CURVE, 8.0]
    assert set(frame["sampling_steps"]) == {250}
    assert set(frame["curve_sampling_steps"]) == {25}
    assert set(frame["draws"]) == {2}


def test_tables_take_the_final_score_and_areas_and_targets_the_curve(frame):
    comparison = compare(frame, target_fid=30.0)
    fids = comparison.table.set_index("block")["fid"].to_dict()
    assert fids == {"adaln": 8.0, "in-context": 12.0}
    # Trapezoids over equal steps.
    assert comparison.table["fid_area"].tolist() == [pytest.approx((125 + 35) / 2)] * 2
    assert comparison.table["reached_target"].tolist() == [2, 2]
    assert (comparison.table["steps_to_target"] > 800).all()
    assert "250 sampling steps" in comparison.heading
    # The final score is below this one, but the curve does not reach it.
    assert compare(frame, target_fid=9.0).table["reached_target"].tolist() == [0, 0]


def test_a_curve_ends_where_the_evaluations_do(frame):
    (axes,) = curve_figure(frame).axes
    lines = [line for line in axes.lines if line.get_label() in ("adaLN", "adaln")]
    assert lines
    assert all(line.get_ydata().tolist() == list(CURVE) for line in lines)


def test_runs_with_other_final_steps_are_not_ranked_together(make_run, results, frame):
    make_run("adaln-zero", 0, CURVE)
    found = differences(load_results(results))
    assert {key: sorted(values) for key, values in found.items()} == {"sampling_steps": [25, 250]}


def test_draws_of_another_number_are_ranked_together(make_run, results, frame):
    make_run("adaln-zero", 0, CURVE, draws=(7.0,), eval__final_sampling_steps=250, eval__draws=1)
    assert differences(load_results(results)) == {}


def test_a_final_score_that_the_configuration_names_must_be_there(make_run):
    run = make_run("adaln", eval__final_sampling_steps=250)
    with pytest.raises(DitbenchError, match=r"final\.csv is missing"):
        read_run(run)


def test_a_changed_draw_is_found_by_its_hash(make_run):
    run = make_run("adaln", 0, CURVE, draws=(7.0, 9.0), eval__final_sampling_steps=250)
    run.finals.write_text(run.finals.read_text().replace("7.0", "7.5"))
    with pytest.raises(DitbenchError, match=r"final\.csv was changed after the run ended"):
        read_run(run)
