"""The forecast of a dry run: arithmetic over speeds, and measurements that leave no trace."""

import pytest
import torch

from ditbench.errors import DitbenchError
from ditbench.runs import calibrate as module
from ditbench.runs import evaluate
from ditbench.runs.calibrate import Speed, calibrate, forecast
from ditbench.runs.run import execute


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    monkeypatch.setattr(module, "SECONDS", 0.02)


@pytest.fixture
def speeds(monkeypatch):
    """Half a second a step, 3 s an evaluation; the blocks that were calibrated."""
    calibrated = []

    def measure(run):
        calibrated.append(run.config.block)
        return Speed(0.5, 3.0)

    monkeypatch.setattr(module, "calibrate", measure)
    return calibrated


def files_below(path):
    return sorted(path.rglob("*"))


def test_a_calibration_measures_and_leaves_no_trace(make_plan, tmp_path, global_stream_untouched):
    run = make_plan()
    speed = calibrate(run)
    assert speed.seconds_per_step > 0
    assert speed.seconds_per_evaluation > 0
    assert files_below(tmp_path) == []


def test_a_slower_step_is_measured_as_such(make_plan, monkeypatch):
    """A clock that moves with updates and sampling steps alone."""

    class Clock:
        now = 0.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    run = make_plan(eval__sampling_steps=10, eval__samples=40, eval__batch_size=16)
    original = module.build_trainer

    def build(run):
        trainer = original(run)

        def update():
            clock.now += 0.01

        trainer.update = update
        return trainer

    def sample(_model, task, labels):
        assert len(labels) == 16
        clock.now += 5.0 + 2.0 * task.config.eval.sampling_steps

    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "build_trainer", build)
    monkeypatch.setattr(evaluate, "time", clock)
    monkeypatch.setattr(evaluate, "sample_images", sample)
    speed = calibrate(run)
    assert speed.seconds_per_step == pytest.approx(0.01)
    assert speed.seconds_per_evaluation == pytest.approx((5 + 2 * 10) * 40 / 16)


def test_steps_are_exact_and_times_expected(make_plan, speeds):
    said = []
    (row,) = forecast([make_plan()], said.append)
    assert row["steps"] == 6
    assert row["images"] == 6 * 16
    assert row["evaluation_steps"] == [2, 4, 6]
    assert row["evaluation_seconds"] is None
    assert row["expected_train_seconds"] == 3.0
    assert row["expected_eval_seconds"] == 9.0
    assert row["expected_total_seconds"] == 12.0
    assert row["estimated"] is False
    assert len(said) == 1
    assert "adaln-zero" in said[0]


def test_under_a_budget_of_time_the_steps_are_estimated(make_plan, speeds):
    run = make_plan(budget__seconds=60.0)
    (row,) = forecast([run], lambda _text: None)
    assert (row["steps"], row["images"]) == (120, 120 * 16)
    assert row["train_flops"] == run.cost.train_flops_per_image * 120 * 16
    assert row["expected_train_seconds"] == 60.0
    assert row["evaluation_seconds"] == [20.0, 40.0, 60.0]
    assert row["evaluation_steps"] is None
    assert row["estimated"] is True


def test_a_calibration_serves_all_seeds_and_none_is_made_for_what_is_complete(make_plan, speeds):
    done = make_plan(block="in-context", budget__seconds=0.01)
    result = execute(done)
    blocks = ("adaln", "adaln-zero")
    plans = [make_plan(block=block, seed=seed) for seed in (0, 1) for block in blocks]
    said = []
    rows = list(forecast([done, *plans], said.append))
    assert speeds == ["adaln", "adaln-zero"]
    assert len(said) == 2
    assert rows[0]["complete"] is True
    assert (rows[0]["steps"], rows[0]["estimated"]) == (result["steps"], False)
    assert rows[0]["train_flops"] == result["train_flops"]
    assert rows[0]["expected_total_seconds"] is None
    assert [row["complete"] for row in rows[1:]] == [False] * 4


def test_what_does_not_fit_says_what_to_lower(make_plan, monkeypatch):
    def no_room(_run):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(module, "build_trainer", no_room)
    with pytest.raises(DitbenchError, match="ran out of memory: batch size 16"):
        list(forecast([make_plan()], lambda _text: None))
