"""Peak memory of training, without what happens in between."""

import mmap
import os
from pathlib import Path

import pytest
import torch

from ditbench.runs.machine.memory import PeakMemory

MIB = 2**20
CLEAR_REFS = Path("/proc/self/clear_refs")


def allocate(mebibytes):
    memory = mmap.mmap(-1, mebibytes * MIB)  # new pages: an allocator may have free ones
    torch.frombuffer(memory, dtype=torch.uint8).fill_(1)


@pytest.mark.skipif(not os.access(CLEAR_REFS, os.W_OK), reason="peaks cannot be reset here")
def test_the_peak_is_that_of_the_parts_between_start_and_stop():
    memory = PeakMemory(torch.device("cpu"))
    assert memory.bytes is None
    memory.start()
    memory.stop()
    first = memory.bytes
    allocate(256)  # between two parts
    memory.start()
    memory.stop()
    assert memory.bytes < first + 128 * MIB
    memory.start()
    allocate(256)
    memory.stop()
    assert memory.bytes > first + 200 * MIB
    memory.start()
    memory.stop()  # a lower peak of a later part
    assert memory.bytes > first + 200 * MIB
