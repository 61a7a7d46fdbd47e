"""A stop that is asked for: where a run hears it, and what is left."""

import os
import signal

import pytest
from clocks import assert_same_end
from recorder import Recorder, recorded, stop_at

from ditbench.rows import read_rows
from ditbench.runs.run import execute
from ditbench.training import budget
from ditbench.training.checkpoint import read_checkpoint
from ditbench.training.stop import Stopped, StopRequest, stopping

pytestmark = pytest.mark.usefixtures("handlers_are_put_back")


def ask(number):
    os.kill(os.getpid(), number)


def resumes_to_the_same_end(plan, whole, step):
    _, recorder = recorded(plan)
    (started,) = recorder.of("started")
    assert started.step == step
    assert_same_end(plan, whole)


@pytest.fixture
def whole(make_plan, made):
    plan = make_plan(out=made)
    execute(plan)  # what is complete is not run again
    return plan


@pytest.mark.parametrize("step", [1, 3, 4, 6])
def test_after_a_row_it_is_saved_there(make_plan, whole, step):
    """Steps 4 and 6 are steps of evaluation, 6 the last: the evaluation is made after all."""
    plan = make_plan()
    stop_at(plan, lambda event: event.kind == "logged" and event.step == step)
    assert read_checkpoint(plan.directory.checkpoint)[1]["step"] == step
    assert len(read_rows(plan.directory.train)) == step
    assert not plan.directory.is_complete()
    assert not plan.directory.lock.exists()
    resumes_to_the_same_end(plan, whole, step)


def test_between_two_rows_the_sums_of_the_next_one_are_kept(make_plan, tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "LOG_ROWS", 2)  # rows at steps 3 and 6
    plan, whole = make_plan(), make_plan(out=tmp_path / "whole")
    execute(whole)
    stop_at(plan, lambda event: event.kind == "evaluated" and event.row["step"] == 4)
    resumes_to_the_same_end(plan, whole, 5)


def test_after_an_evaluation_the_step_that_has_begun_is_finished(make_plan, whole):
    plan = make_plan()
    stop_at(plan, lambda event: event.kind == "evaluated" and event.row["step"] == 2)
    resumes_to_the_same_end(plan, whole, 3)


def test_a_stop_after_the_last_evaluation_comes_too_late(make_plan):
    stop = StopRequest()

    def ask_to_stop(event):
        if event.kind == "evaluated" and event.row["step"] == 6:
            stop.number = signal.SIGINT

    assert execute(make_plan(), Recorder(ask_to_stop), stop)["steps"] == 6


@pytest.mark.parametrize("place", ["sample", "update"])
def test_an_evaluation_is_left_between_two_batches(make_plan, whole, monkeypatch, place):
    """In sampling and in scoring; it is made anew, and never twice at one step."""
    from ditbench.metrics.scorer import Scorer
    from ditbench.objectives.flow import Flow

    owner = Flow if place == "sample" else Scorer
    plan, stop, calls = make_plan(), StopRequest(), []
    original = getattr(owner, place)

    def second_of_three(*arguments, **options):
        calls.append(place)
        if len(calls) == 3 + 2:  # in the second evaluation
            stop.number = signal.SIGINT
        return original(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(owner, place, second_of_three)
        with pytest.raises(Stopped):
            execute(plan, stop=stop)
    assert len(calls) == 3 + 2
    assert [row["step"] for row in read_rows(plan.directory.evaluations)] == [2]
    resumes_to_the_same_end(plan, whole, 4)


def test_between_two_runs_the_next_one_is_not_begun(make_plan):
    plan, stop = make_plan(), StopRequest()
    stop.number = signal.SIGTERM
    with pytest.raises(Stopped):
        execute(plan, stop=stop)
    assert not plan.directory.path.exists()


def test_while_it_is_loading_nothing_is_begun(make_plan, monkeypatch):
    from ditbench.runs import run

    plan, stop = make_plan(), StopRequest()
    original = run.build_trainer

    def build(plan):
        stop.number = signal.SIGINT
        return original(plan)

    monkeypatch.setattr(run, "build_trainer", build)
    with pytest.raises(Stopped):
        execute(plan, stop=stop)
    assert list(plan.directory.path.iterdir()) == []


def test_a_stop_by_the_clock_keeps_the_time_that_is_left(make_plan):
    plan = make_plan(budget__seconds=0.6, eval__points=2)
    stop_at(plan, lambda event: event.kind == "logged" and event.seconds > 0.2)
    _, counters = read_checkpoint(plan.directory.checkpoint)
    assert counters["seconds"] > 0.2
    result, recorder = recorded(plan)
    assert recorder.events[0].seconds == counters["seconds"]
    assert result["train_seconds"] >= 0.6
    assert len(read_rows(plan.directory.train)) > 2
    steps = [row["step"] for row in read_rows(plan.directory.evaluations)]
    assert len(steps) == 2
    assert steps[0] < steps[1] == result["steps"]


def test_a_second_signal_inside_a_checkpoint_leaves_the_one_before(
    make_plan, whole, tmp_path, monkeypatch
):
    """At each of the calls by which it reaches the disk."""
    from pathlib import Path

    original = Path.replace
    for nth in (1, 2, 3):
        plan, calls = make_plan(out=tmp_path / str(nth)), []

        def replace(path, target, calls=calls, nth=nth):
            if "checkpoints" in path.parts:
                calls.append(target)
                if len(calls) == 2 + nth:  # the first checkpoint takes two renames
                    raise KeyboardInterrupt
            return original(path, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", replace)
            with pytest.raises(KeyboardInterrupt):
                execute(plan)
        step = 2 if nth == 1 else 4
        resumes_to_the_same_end(plan, whole, step)


@pytest.mark.parametrize("second", [False, True])
def test_statistics_of_real_images_are_left_between_two_passes(make_plan, monkeypatch, second):
    """Nothing is written, and a signal does not wait for the whole data set."""
    from ditbench.metrics.features.classifiers import DigitsClassifier
    from ditbench.metrics.features.extractors import Extractor

    monkeypatch.setenv("DITBENCH_CACHE", "/proc/nowhere")
    monkeypatch.setattr(DigitsClassifier, "cpu_batch", 10)
    plan, stop, passes = make_plan(), StopRequest(), []
    original = DigitsClassifier.extract

    def extract(self, images):
        passes.append(len(images))
        if len(passes) == 3:
            if second:
                ask(signal.SIGINT)  # as a signal
            else:
                stop.number = signal.SIGTERM  # as a request made elsewhere
        return original(self, images)

    monkeypatch.setattr(DigitsClassifier, "extract", extract)
    assert DigitsClassifier.forward is Extractor.forward
    with stopping(stop), pytest.raises(KeyboardInterrupt if second else Stopped):
        execute(plan, stop=stop)
    assert passes == [10, 10, 10]
    assert not plan.directory.path.exists()


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_sampling_is_left_between_two_passes_of_the_model(make_plan, sampler):
    plan, stop, shown = make_plan(eval__sampling_steps=4, eval__sampler=sampler), StopRequest(), []

    def show(activity, done, parts):
        shown.append((activity, done, parts))
        if activity == "sampling" and done == 3:
            stop.number = signal.SIGINT

    reporter = Recorder()
    reporter.working = show
    with pytest.raises(Stopped):
        execute(plan, reporter, stop)
    passes = 3 * 4 * (2 if sampler == "heun" else 1)  # three batches
    sampling = [each for each in shown if each[0] == "sampling"]
    assert sampling == [("sampling", done, passes) for done in range(4)]
    assert read_checkpoint(plan.directory.checkpoint)[1]["step"] == 2
    shown.clear()
    reporter.working = lambda *work: shown.append(work)
    execute(plan, reporter)
    for activity, parts in (("sampling", passes), ("scoring", 40)):
        counts = [work[1:] for work in shown if work[0] == activity]
        assert counts[-1] == (parts, parts), activity
