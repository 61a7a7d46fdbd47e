"""A stop that is asked for: requests, signals and threads, without a run."""

import importlib
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ditbench.training.stop import Stopped, StopRequest, stopping

pytestmark = pytest.mark.usefixtures("handlers_are_put_back")


def ask(number):
    os.kill(os.getpid(), number)


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
    def elsewhere():
        with stopping(StopRequest()):
            return signal.getsignal(signal.SIGTERM)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(elsewhere).result() == signal.getsignal(signal.SIGTERM)


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


class InterruptedAfterACheck(StopRequest):
    def check(self):
        super().check()
        ask(signal.SIGINT)


def test_no_signal_is_lost_between_a_check_and_such_work():
    request = InterruptedAfterACheck()
    with stopping(request), pytest.raises(KeyboardInterrupt), request.at_once():
        raise AssertionError


# As a compiled module that takes every exception for an error of its own.
MODULE = """import os
import signal

try:
    os.kill(os.getpid(), signal.SIGINT)
except BaseException:
    raise ImportError("initialization failed") from None
"""


def test_an_import_in_such_work_is_finished(tmp_path, monkeypatch):
    (tmp_path / "module_that_takes_errors.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    request = StopRequest()
    with stopping(request):
        with request.at_once():
            importlib.import_module("module_that_takes_errors")
        with pytest.raises(Stopped):
            request.check()


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
