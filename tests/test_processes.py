"""Processes for a measurement: the end of one is noticed. (test_cli_bench_gpus.py has the rest.)"""

import os
import signal

import pytest

from ditbench.errors import DitbenchError
from ditbench.processes import in_processes


def kill_the_second(send):
    if os.environ["RANK"] == "0":
        signal.pause()
    os.kill(os.getpid(), signal.SIGKILL)


def fail(send):
    send("begun")
    raise DitbenchError("too much", "take less", 1)


def test_a_process_that_is_killed_ends_all(preloaded):
    with pytest.raises(DitbenchError, match="process 1 of 2 was killed by SIGKILL") as raised:
        list(in_processes(2, kill_the_second))
    assert raised.value.exit_code == 1


def test_an_error_arrives_after_what_was_sent(preloaded):
    messages = in_processes(1, fail)
    assert next(messages) == "begun"
    with pytest.raises(DitbenchError, match="too much") as raised:
        next(messages)
    assert (raised.value.hint, raised.value.exit_code) == ("take less", 1)
