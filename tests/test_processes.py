"""What processes send. (launch/test_worker.py kills one.)"""

import multiprocessing
import signal
from unittest.mock import Mock

import pytest

from ditbench.errors import DitbenchError
from ditbench.processes import in_processes


def fail(send):
    send("begun")
    raise DitbenchError("too much", "take less", 1)


def test_an_error_arrives_after_what_was_sent(preloaded):
    messages = in_processes(1, fail)
    assert next(messages) == "begun"
    with pytest.raises(DitbenchError, match="too much") as raised:
        next(messages)
    assert (raised.value.hint, raised.value.exit_code) == ("take less", 1)


def test_they_start_without_ctrl_c(monkeypatch):
    def start():
        raise AssertionError(signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    process = Mock(return_value=Mock(start=start))
    context = Mock(Pipe=multiprocessing.Pipe, Process=process)
    monkeypatch.setattr(multiprocessing, "get_context", {"spawn": context}.get)
    with pytest.raises(AssertionError) as started:
        next(in_processes(1, fail))
    assert signal.SIGINT in started.value.args[0]
