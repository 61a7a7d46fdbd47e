"""Signals that new processes receive. (cli/test_cli_interrupt.py sends one during an import.)"""

import signal
import subprocess
import sys

import pytest

# A process that has started no other one yet, as a command before its first worker.
START = """
import multiprocessing, pathlib, signal, time
from ditbench.ctrl_c import starting_processes

signal.signal(signal.SIGTERM, {terminated})
before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
new = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,), daemon=True)
with starting_processes():
    new.start()
assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
assert signal.getsignal(signal.SIGTERM) == {terminated}
print(pathlib.Path("/proc", str(new.pid), "status").read_text())
new.kill()
"""


def has(status, field, number):
    """Whether a signal is in a mask of /proc/PID/status."""
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith(field))
    return bool(int(mask, 16) & 1 << number - 1)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("terminated", ["signal.SIG_DFL", "signal.SIG_IGN"])
def test_a_new_process_has_no_ctrl_c_and_ends_on_sigterm_even_the_first(terminated):
    program = START.format(terminated=terminated)
    status = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert has(status, "SigBlk", signal.SIGINT)
    assert not has(status, "SigIgn", signal.SIGTERM)
    assert not has(status, "SigBlk", signal.SIGTERM)
