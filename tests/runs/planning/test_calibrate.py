"""The forecast of a dry run: arithmetic over speeds, and measurements that leave no trace."""

import pytest
import torch

from ditbench.errors import DitbenchError
from ditbench.runs.machine.contention import CpuShare
from ditbench.runs.planning import calibrate as module
from ditbench.runs.planning.calibrate import Speed, calibrate, forecast
from ditbench.runs.run import execute
from ditbench.runs.scoring import sampling


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    """Short, and on a machine without other processes."""
    monkeypatch.setattr(module, "SECONDS", 0.02)
    monkeypatch.setattr(CpuShare, "read", lambda _self: 1.0)


@pytest.fixture
def speeds(monkeypatch):
    """Half a second a step, 3 s an evaluation of 40 samples; the blocks that were calibrated."""
    calibrated = []

    def measure(run, per_score):
        calibrated.append(run.config.block)
        return Speed(0.5, 1 / (40 * 2), per_score)

    monkeypatch.setattr(module, "calibrate", measure)
    monkeypatch.setattr(module, "time_scoring", lambda *_arguments: 2 / 40)
    monkeypatch.setattr(module, "_statistics", lambda *_arguments: 7.0)
    return calibrated


def files_below(path):
    return sorted(path.rglob("*"))


def test_a_calibration_measures_and_leaves_no_trace(make_plan, tmp_path, global_stream_untouched):
    run = make_plan()
    speed = calibrate(run, per_score=0.5)
    assert speed.per_step > 0
    assert speed.per_pass > 0
    assert speed.per_score == 0.5
    assert files_below(tmp_path) == []


@pytest.fixture
def clocked(monkeypatch):
    """A clock that moves with updates and sampling steps alone: seconds for so many images."""

    class Clock:
        now = 0.0
        per_update = per_pass = staticmethod(lambda images: 0.0)

        def perf_counter(self):
            return self.now

    clock = Clock()
    original = module.build_trainer

    def build(run):
        trainer = original(run)

        def update():
            clock.now += clock.per_update(trainer.batches.batch_size)

        trainer.update = update
        return trainer

    def sample(_model, task, labels):
        clock.now += task.config.eval.sampling_steps * clock.per_pass(len(labels))

    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "build_trainer", build)
    monkeypatch.setattr(sampling, "time", clock)
    monkeypatch.setattr(sampling, "sample_images", sample)
    return clock


@pytest.mark.parametrize("seconds", [0.0001, 0.01, 5.0])  # of one image
def test_speeds_are_measured_on_few_images_where_many_take_long(make_plan, clocked, seconds):
    """Right for times that are a line; a calibration stays short however slow a step is."""
    clocked.per_update = lambda images: 0.02 + seconds * images
    clocked.per_pass = lambda images: 0.001 + seconds / 3 * images
    run = make_plan(train__batch_size=512, eval__samples=2_000, eval__batch_size=500)
    speed = calibrate(run, per_score=0.0)
    assert speed.per_step == pytest.approx(0.02 + 512 * seconds, rel=2e-3)
    assert speed.per_pass == pytest.approx((0.001 + 500 * seconds / 3) / 500, rel=2e-3)
    assert clocked.now < 3 or seconds == 5.0
    # However slow: a few updates of a few images.
    assert clocked.now < 3 + 5 * 4 * seconds


@pytest.mark.parametrize("seconds", [0.0001, 0.01])
def test_times_are_without_other_processes_and_a_line_says_so(
    make_plan, clocked, monkeypatch, seconds
):
    clocked.per_update = clocked.per_pass = lambda images: 0.02 + seconds * images
    monkeypatch.setattr(module, "time_scoring", lambda *_arguments: 4.0)
    run = make_plan(train__batch_size=512, eval__samples=2_000, eval__batch_size=500)
    said = [], []
    (idle,) = forecast([run], said[0].append)
    monkeypatch.setattr(CpuShare, "read", lambda _self: 0.25)
    (busy,) = forecast([run], said[1].append)
    for key in ("seconds_per_step", "expected_train_seconds", "expected_eval_seconds"):
        assert busy[key] == pytest.approx(idle[key] / 4)
    assert [len(lines) for lines in said] == [1, 2]
    assert said[1][1] == (
        "this CPU is busy: beside its other processes, runs take about 4.0 times as long"
    )


def test_a_real_trainer_updates_on_few_images(make_plan, monkeypatch):
    """The batch of the calibration is smaller than that of the run."""
    monkeypatch.setattr(module, "LONG_ENOUGH", 0.0)  # the first number of images is enough
    speed = calibrate(make_plan(train__batch_size=32, objective__name="ddpm"), per_score=0.0)
    assert 0 < speed.per_step < 60


def test_steps_are_exact_and_times_expected(make_plan, speeds):
    said = []
    (row,) = forecast([make_plan()], said.append)
    assert row["steps"] == 6
    assert row["images"] == 6 * 16
    assert row["evaluation_steps"] == [2, 4, 6]
    assert row["evaluation_seconds"] is None
    assert row["expected_train_seconds"] == 3.0
    # Three times 1 s of sampling and 2 s of scoring, after the statistics of the real images.
    assert row["expected_eval_seconds"] == pytest.approx(7.0 + 3 * (1.0 + 2.0))
    assert row["expected_total_seconds"] == pytest.approx(3.0 + 16.0)
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
    first, *others = (row["expected_total_seconds"] for row in rows[1:])
    assert others == [pytest.approx(first - 7.0)] * 3  # the statistics are made once
    assert [row["complete"] for row in rows[1:]] == [False] * 4


def test_what_does_not_fit_says_what_to_lower(make_plan, monkeypatch):
    def no_room(_run):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(module, "build_trainer", no_room)
    with pytest.raises(DitbenchError, match="ran out of memory: batch size 16"):
        list(forecast([make_plan()], lambda _text: None))


def test_models_that_would_take_too_long_to_time_are_estimated_by_cost(
    make_plan, speeds, clocked, monkeypatch
):
    """A calibration of the first takes all the time that there is."""
    measure = module.calibrate

    def slow(run, per_score):
        clocked.now += module.MOST_SECONDS + 1
        return measure(run, per_score)

    monkeypatch.setattr(module, "calibrate", slow)
    plans = [make_plan(block=block) for block in ("adaln", "adaln-zero", "cross-attention")]
    said = []
    rows = list(forecast(plans, said.append))
    assert speeds == ["adaln"]
    assert said[1:] == ["the others are estimated from adaln, by cost"]
    for plan, row in zip(plans, rows, strict=True):
        ratio = plan.cost.gmacs / plans[0].cost.gmacs
        assert row["seconds_per_step"] == pytest.approx(0.5 * ratio)
