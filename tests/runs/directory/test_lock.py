"""One process a run directory, and a dead one holds nothing."""

import os
import shutil
import signal
from unittest.mock import Mock

import pytest
from recorder import recorded

from ditbench.errors import DitbenchError
from ditbench.runs.directory import lock as module
from ditbench.runs.directory.lock import locked
from ditbench.runs.run import execute

pytestmark = pytest.mark.skipif(not module.HAS_LOCKS, reason="no locks on this system")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / ".lock"


class Holder:
    """A process that holds a lock until it is released or killed."""

    def __init__(self, path):
        ready, ready_writer = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            try:
                with locked(path):
                    os.write(ready_writer, b"x")
                    signal.pause()
            finally:
                os._exit(1)
        os.close(ready_writer)
        assert os.read(ready, 1) == b"x"
        os.close(ready)

    def kill(self):
        if self.child:  # once: its number may be another process's afterwards
            os.kill(self.child, signal.SIGKILL)
            os.waitpid(self.child, 0)
        self.child = 0


@pytest.fixture
def hold():
    """Start a process that holds a lock; none outlives its test."""
    holders = []

    def start(path):
        holders.append(Holder(path))
        return holders[-1]

    yield start
    for holder in holders:
        holder.kill()


@pytest.fixture
def holder(hold, path):
    return hold(path)


def test_a_second_process_reports_who_writes_and_leaves_the_lock_alone(path, holder):
    with pytest.raises(DitbenchError, match=f"run is being written by process {holder.child}") as e:
        locked(path).__enter__()
    assert e.value.exit_code == 1
    assert "then repeat the command" in e.value.hint
    with pytest.raises(DitbenchError):
        locked(path).__enter__()
    assert path.read_text() == f"{holder.child}\n"


def test_a_process_that_was_killed_holds_nothing(path, hold):
    holder = hold(path)
    holder.kill()
    assert path.is_file()
    with locked(path):
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


def test_a_lock_that_is_released_can_be_taken_again(path):
    for _ in range(2):
        with locked(path):
            assert path.is_file()
        assert not path.exists()
    with pytest.raises(KeyError), locked(path):
        raise KeyError
    assert not path.exists()


def test_the_lock_of_a_directory_that_was_removed_is_not_that_of_a_new_one(path, hold):
    """Who started anew in its place keeps what it holds."""
    with locked(path):
        shutil.rmtree(path.parent)
        holder = hold(path)
    assert path.is_file()
    with pytest.raises(DitbenchError, match=f"process {holder.child}"):
        locked(path).__enter__()


def test_a_lock_that_its_holder_removes_is_tried_again(path, monkeypatch):
    """Between opening and locking the file, it can lose its name."""
    path.parent.mkdir()
    original, calls = module._is_still_there, []

    def removed_the_first_time(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            path.unlink()
        return original(*arguments)

    monkeypatch.setattr(module, "_is_still_there", removed_the_first_time)
    with locked(path):
        assert path.read_text() == f"{os.getpid()}\n"
    assert len(calls) == 3


def test_a_file_system_without_locks_goes_unguarded(path, monkeypatch):
    failure = Mock(side_effect=OSError(95, "Operation not supported"))
    monkeypatch.setattr(module.fcntl, "flock", failure)
    with locked(path):
        pass


def test_a_place_that_takes_no_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DitbenchError, match=r"cannot write .*\.lock") as raised:
        locked(tmp_path / "file" / ".lock").__enter__()
    assert raised.value.exit_code == 1


def test_a_directory_that_is_read_only_is_named(path, monkeypatch):
    """Root may write everywhere, so the system's word is put in its mouth."""

    monkeypatch.setattr(type(path), "open", Mock(side_effect=OSError(30, "Read-only file system")))
    with pytest.raises(DitbenchError, match=r"cannot write .*\.lock: Read-only") as raised:
        locked(path).__enter__()
    assert raised.value.exit_code == 1


def test_a_run_that_another_process_writes_is_refused_untouched(make_plan, hold):
    plan = make_plan()
    holder = hold(plan.directory.lock)
    with pytest.raises(DitbenchError, match="is being written by process"):
        execute(plan)
    assert [file.name for file in plan.directory.path.iterdir()] == [".lock"]
    holder.kill()
    assert execute(plan)["steps"] == 6
    assert not plan.directory.lock.exists()


def test_what_another_process_completed_is_not_run_again(make_plan, monkeypatch):
    from ditbench.runs import run

    plan = make_plan()
    result = execute(plan)
    hidden = plan.directory.result.rename(plan.directory.path / "hidden")
    original = run.locked

    def as_the_lock_is_awaited(path):
        hidden.rename(plan.directory.result)
        return original(path)

    monkeypatch.setattr(run, "locked", as_the_lock_is_awaited)
    monkeypatch.setattr(run, "build_trainer", None)
    stored, recorder = recorded(plan)
    assert stored == {**stored, **result}
    assert recorder.events[-1].reused
