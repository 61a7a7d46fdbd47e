"""Areas by numpy.trapezoid and targets by numpy.interp, run by run."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ditbench.errors import DitbenchError
from ditbench.report.statistics.curves import TO_TARGET, fid_area, to_target


def frame_of(curves):
    """Rows as load_results gives them, of (step, FID) lists by path; out of order on purpose."""
    rows = [
        {"path": path, "step": step, "train_flops": 7e9 * step, "seconds": step / 40, "fid": fid}
        for path, curve in curves.items()
        for step, fid in curve
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


CURVES = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.lists(
        st.tuples(st.integers(1, 10_000), st.floats(0.1, 400)),
        min_size=1,
        max_size=6,
        unique_by=lambda point: point[0],
    ).map(sorted),
    min_size=1,
)


@given(CURVES)
def test_the_area_is_numpys_over_the_steps(curves):
    areas = fid_area(frame_of(curves))
    assert set(areas.index) == set(curves)
    for path, curve in curves.items():
        steps, fids = np.array(curve).T
        span = steps[-1] - steps[0]
        expected = np.trapezoid(fids, steps) / span if span else np.nan
        assert areas[path] == pytest.approx(expected, rel=1e-9, nan_ok=True)


def target_by_hand(curve, target):
    """The step at which log FID, straight between evaluations, is first that of the target."""
    for number, (step, fid) in enumerate(curve):
        if fid <= target:
            if number == 0:
                return step
            before, above = curve[number - 1]
            return np.interp(-np.log(target), -np.log([above, fid]), [before, step])
    return np.nan


@given(CURVES, st.floats(0.05, 500))
def test_the_target_is_met_where_log_fid_meets_it(curves, target):
    result = to_target(frame_of(curves), target)
    assert list(result.columns) == list(TO_TARGET.values())
    assert set(result.index) == set(curves)
    for path, curve in curves.items():
        step = target_by_hand(curve, target)
        row = result.loc[path]
        assert row["steps_to_target"] == pytest.approx(step, rel=1e-9, nan_ok=True)
        assert row["train_flops_to_target"] == pytest.approx(7e9 * step, rel=1e-9, nan_ok=True)
        assert row["seconds_to_target"] == pytest.approx(step / 40, rel=1e-9, nan_ok=True)


def test_the_target_by_hand():
    curves = {"a": [(100, 80.0), (200, 20.0), (300, 5.0)], "late": [(100, 80.0), (300, 30.0)]}
    result = to_target(frame_of(curves), 10.0)["steps_to_target"]
    assert result["a"] == pytest.approx(250.0)  # 20 -> 10 -> 5: half way in equal factors
    assert np.isnan(result["late"])


@pytest.mark.parametrize("fid", [0.0, -0.3])
def test_a_fid_of_0_or_less_has_no_logarithm_and_counts_at_its_evaluation(fid):
    result = to_target(frame_of({"a": [(100, 80.0), (200, fid)]}), 10.0)
    assert result["steps_to_target"].tolist() == [200]


@pytest.mark.parametrize("target", [0.0, -1.0, float("nan"), float("inf")])
def test_a_target_that_is_not_positive_is_an_error(target):
    with pytest.raises(DitbenchError, match="cannot be reached") as caught:
        to_target(frame_of({"a": [(1, 2.0)]}), target)
    assert "above 0" in caught.value.hint
