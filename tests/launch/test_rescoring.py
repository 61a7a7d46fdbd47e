"""A stop of the processes that score runs again. (cli/test_cli_eval.py compares their scores.)"""

import os
import signal
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from ditbench.errors import DitbenchError
from ditbench.launch import rescoring
from ditbench.training.stop import Stopped, StopRequest, stopping

JOB = SimpleNamespace(plan=SimpleNamespace(device=SimpleNamespace(type="cpu")))


@pytest.fixture
def interrupted(monkeypatch):
    """Score again by processes that send so many messages, and then end by a Ctrl-C as we do."""

    def call(messages):
        def sent(*_arguments):
            yield from [("begin", 0)] * messages
            os.kill(os.getpid(), signal.SIGINT)
            raise DitbenchError("process 1 of 2 was killed by SIGINT", None, 1)

        monkeypatch.setattr(rescoring, "in_processes", sent)
        stop = StopRequest()
        with stopping(stop):
            list(rescoring.rescore_together(None, [JOB], 2, Mock(), stop))

    return call


def test_while_processes_start_ctrl_c_ends_all_at_once(interrupted):
    with pytest.raises(KeyboardInterrupt):
        interrupted(0)


def test_later_it_is_a_stop_and_no_error_of_a_process(interrupted):
    with pytest.raises(Stopped):
        interrupted(1)
