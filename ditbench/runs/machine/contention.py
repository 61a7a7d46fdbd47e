"""The share of the CPU that other processes leave to this one."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

# Linux: per thread, nanoseconds on a CPU and nanoseconds of waiting for one.
_THREADS = Path("/proc/self/task")
# The CPU time that a container may use, of a period: cgroups of version 2, and 1.
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_QUOTA_1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_PERIOD_1 = _QUOTA_1.with_name("cpu.cfs_period_us")


class CpuShare:
    """What this process got of the CPU time that it asked for, since this object was made."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._ran, self._waited = time.process_time(), _waited()

    def read(self) -> float:
        """A number above 0, and 1 without other processes. Times of work on a CPU shrink by it.

        It is 1 on a system that does not record how long threads wait.
        """
        now = _waited()
        waited = sum(now[thread] - self._waited.get(thread, 0.0) for thread in now)
        ran = time.process_time() - self._ran
        if waited <= 0 or ran <= 0:
            return 1.0
        # Threads also wait for each other, where they are too many, and for a container's quota.
        most = _cpus() * (time.perf_counter() - self._began)
        return min(1.0, max(ran / (ran + waited), ran / most))


def _waited() -> dict[str, float]:
    """The seconds that each thread of this process has waited for a CPU."""
    found = {}
    with suppress(OSError):
        for thread in _THREADS.iterdir():
            with suppress(OSError, ValueError, IndexError):  # it may have ended
                found[thread.name] = int((thread / "schedstat").read_text().split()[1]) / 1e9
    return found


def _cpus() -> float:
    """How many CPUs this process may use at once."""
    cpus = float(len(os.sched_getaffinity(0)))
    for files in ((_QUOTA,), (_QUOTA_1, _PERIOD_1)):
        with suppress(OSError, ValueError):  # no such file, or no limit: `max`
            quota, period = map(int, " ".join(file.read_text() for file in files).split())
            cpus = min(cpus, quota / period) if quota > 0 else cpus
    return cpus
