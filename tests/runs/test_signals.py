"""A stop that is asked for: where it is heard, and what is left."""

import os
import signal
import threading

import pytest
from clocks import timeless
from recorder import Recorder, stop_at

from ditbench.rows import read_rows
from ditbench.runs.run import execute
from ditbench.training import budget
from ditbench.training.checkpoint import read_checkpoint
from ditbench.training.stop import Stopped, StopRequest, stopping


@pytest.fixture(autouse=True)
def handlers_are_put_back():
    # In the background of a script SIGINT is ignored, and would stay so.
    given = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    signal.signal(signal.SIGINT, given)


def ask(number):
    os.kill(os.getpid(), number)


# The request


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_request(number):
    request = StopRequest()
    with stopping(request):
        assert not request
        request.check()
        ask(number)
        assert request
        with pytest.raises(Stopped) as stopped:
            request.check()
    assert stopped.value.number == number
    assert str(stopped.value) == signal.Signals(number).name


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_leaves_at_once(second):
    request = StopRequest()
    with stopping(request):
        ask(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            ask(second)
    assert request.number == signal.SIGTERM


def test_what_is_ignored_stays_ignored():
    """As under nohup, or in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        request = StopRequest()
        with stopping(request):
            ask(signal.SIGINT)
            assert not request
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_than_the_main_one_changes_no_handler():
    handlers = []

    def elsewhere():
        with stopping(StopRequest()):
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)]


def test_a_run_in_another_thread_trains(make_plan):
    """Python takes signals in the main thread alone; the run goes without."""
    results = []

    def elsewhere():
        request = StopRequest()
        with stopping(request):
            results.append(execute(make_plan(), stop=request))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert results[0]["steps"] == 6


# A run that is stopped


def resumes_to_the_same_end(plan, whole, step):
    recorder = Recorder()
    execute(plan, recorder)
    events = recorder.events
    (started,) = (event for event in events if event.kind == "started")
    assert started.step == step
    for name in ("train", "evaluations"):
        ours, theirs = (getattr(run.directory, name) for run in (plan, whole))
        assert timeless(ours) == timeless(theirs)
    one, two = (read_checkpoint(run.directory.checkpoint)[0] for run in (plan, whole))
    return all(one[name].equal(two[name]) for name in two)


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
    assert resumes_to_the_same_end(plan, whole, step)


def test_between_two_rows_the_sums_of_the_next_one_are_kept(make_plan, tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "LOG_ROWS", 2)  # rows at steps 3 and 6
    plan, whole = make_plan(), make_plan(out=tmp_path / "whole")
    execute(whole)
    stop_at(plan, lambda event: event.kind == "evaluated" and event.row["step"] == 4)
    assert resumes_to_the_same_end(plan, whole, 5)


def test_after_an_evaluation_the_step_that_has_begun_is_finished(make_plan, whole):
    plan = make_plan()
    stop_at(plan, lambda event: event.kind == "evaluated" and event.row["step"] == 2)
    assert resumes_to_the_same_end(plan, whole, 3)


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
    assert resumes_to_the_same_end(plan, whole, 4)


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
    recorder = Recorder()
    result = execute(plan, recorder)
    events = recorder.events
    assert events[0].seconds == counters["seconds"]
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
        assert resumes_to_the_same_end(plan, whole, step), nth


# Long work


def test_where_nothing_has_to_be_saved_the_first_signal_ends_it_at_once():
    request = StopRequest()
    with stopping(request):
        with pytest.raises(KeyboardInterrupt), request.at_once():
            ask(signal.SIGTERM)
        assert request.number == signal.SIGTERM
        with pytest.raises(Stopped), request.at_once():  # not begun
            raise AssertionError


def test_after_such_work_a_signal_is_a_request_again():
    request = StopRequest()
    with stopping(request):
        with request.at_once():
            pass
        ask(signal.SIGINT)
        assert request


def test_what_cannot_be_divided_is_left_behind():
    """The result, the error, or the stop, whichever comes first."""
    request, release = StopRequest(), threading.Event()
    assert request.wait_for(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        request.wait_for(lambda: 1 / 0)
    timer = threading.Timer(0.2, ask, [signal.SIGINT])
    with stopping(request):
        timer.start()
        with pytest.raises(Stopped):
            request.wait_for(lambda: release.wait(60))
    release.set()


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
