"""Several processes on one directory of results: who writes, and what readers see meanwhile."""

import os
import threading
import time
import traceback

import pytest
from clocks import without_clocks

from ditbench.errors import DitbenchError
from ditbench.files import one_at_a_time, read_json, write_json
from ditbench.launch.states import states
from ditbench.metrics import real
from ditbench.report.reading.results import find_runs, load_results
from ditbench.runs import run
from ditbench.runs.directory import lock
from ditbench.runs.run import execute

pytestmark = pytest.mark.skipif(not lock.HAS_LOCKS, reason="no locks on this system")

COUNT = 4


def forked(*functions):
    """Call each function in a forked process; returns their exit codes: 0 if it returns true."""
    children = []
    for function in functions:
        child = os.fork()
        if child == 0:
            code = 99
            try:
                code = 0 if function() else 1
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def test_of_processes_that_start_one_run_at_once_one_makes_it(make_plan, tmp_path, monkeypatch):
    plan, alone = make_plan(), make_plan(out=tmp_path / "alone")
    execute(alone)  # imports what the processes then share
    original = run.open_directory

    def opened(*arguments):
        with (tmp_path / "opened").open("a") as file:
            file.write(f"{os.getpid()}\n")
        return original(*arguments)

    monkeypatch.setattr(run, "open_directory", opened)

    def start():
        try:
            return execute(plan)["steps"] == 6
        except DitbenchError as error:
            return "is being written by process" not in error.message

    codes = forked(*[start] * COUNT)
    # Refused are those that come while one trains. One that comes later finds the run complete.
    assert 0 in codes
    assert set(codes) <= {0, 1}
    assert len((tmp_path / "opened").read_text().splitlines()) == 1
    one, other = (each.directory.read_evaluations() for each in (plan, alone))
    assert list(map(without_clocks, one)) == list(map(without_clocks, other))
    assert not plan.directory.lock.exists()


def test_readers_see_runs_that_are_written_as_absent_and_never_as_damaged(make_plan, tmp_path):
    plans = [make_plan(seed=seed, budget__steps=20, eval__points=4) for seed in range(3)]
    execute(make_plan(seed=9))  # something to read
    out, seen, child = tmp_path / "results", set(), os.fork()
    if child == 0:
        try:
            for plan in plans:
                execute(plan)
        finally:
            os._exit(0)
    while not os.waitpid(child, os.WNOHANG)[0]:
        runs = load_results(out)
        assert {reason for _, reason in runs.attrs["skipped"]} <= {"incomplete: no result.json"}
        complete = set(runs["seed"])
        found = list(find_runs(out))
        seen |= set(states(found))
        assert complete <= {0, 1, 2, 9}
        assert len(runs[runs["seed"] != 9]) == 4 * (len(complete) - 1)
    assert seen >= {"done", "running"}
    assert set(load_results(out)["seed"]) == {0, 1, 2, 9}


def test_a_file_that_several_processes_replace_is_always_whole(tmp_path):
    path = tmp_path / "cache" / "facts.json"
    write_json(path, {"who": -1, "numbers": [-1] * 2000})

    def writer(number):
        return lambda: [
            write_json(path, {"who": number, "numbers": [number] * 2000}) for _ in range(20)
        ]

    writing = threading.Thread(target=lambda: codes.extend(forked(*map(writer, range(COUNT)))))
    codes = []
    writing.start()
    while writing.is_alive():
        facts = read_json(path)
        assert set(facts["numbers"]) == {facts["who"]}
    assert codes == [0] * COUNT
    assert [file.name for file in path.parent.iterdir()] == ["facts.json"]


def test_statistics_of_real_images_are_computed_by_one_process(
    make_plan, tmp_path, own_cache, monkeypatch
):
    from ditbench.runs.scoring.evaluate import create_scorer

    plan, original = make_plan(), real.compute_statistics

    def counted(*arguments, **options):
        with (tmp_path / "computed").open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.3)
        return original(*arguments, **options)

    monkeypatch.setattr(real, "compute_statistics", counted)
    assert forked(*[lambda: create_scorer(plan)] * COUNT) == [0] * COUNT
    assert len((tmp_path / "computed").read_text().splitlines()) == 1


def test_what_is_done_one_at_a_time_is_never_done_by_two(tmp_path):
    def enter():
        for _ in range(10):
            with one_at_a_time(tmp_path / "some.lock"):
                (tmp_path / "inside").touch(exist_ok=False)
                time.sleep(0.001)
                (tmp_path / "inside").unlink()
        return True

    assert forked(*[enter] * COUNT) == [0] * COUNT


def test_without_locks_or_a_place_for_them_nobody_waits(tmp_path):
    (tmp_path / "file").write_text("")
    with one_at_a_time(tmp_path / "file" / "some.lock"), one_at_a_time(tmp_path / "file" / "x"):
        pass
