"""The queue of a device, on a simulated one."""

from unittest.mock import Mock

import pytest
import torch

from ditbench.training.device.backlog import LEAST, SECONDS, Backlog


class Device:
    """Executes steps one after the other; the host's clock moves by launches and waits."""

    def __init__(self, step, launch):
        self.step, self.launch = step, launch
        self.now = self.free_at = 0.0
        self.busy = 0.0

    def event(self, **_options):
        return Event(self)

    def run(self, steps):
        """Launch steps; the most seconds of work that were queued, and the end."""
        backlog, most = Backlog(torch.device("cuda"), self.event), 0.0
        for _ in range(steps):
            self.now += self.launch
            self.free_at = max(self.free_at, self.now) + self.step
            backlog.launched()
            most = max(most, self.free_at - self.now)
        return most, self.free_at


class Event:
    def __init__(self, device):
        self.device = device

    def record(self):
        self.at = self.device.free_at

    def query(self):
        return self.at <= self.device.now

    def synchronize(self):
        self.device.now = max(self.device.now, self.at)

    def elapsed_time(self, later):
        return 1e3 * (later.at - self.at)


@pytest.mark.parametrize("step", [0.0005, 0.008, 0.2, 1.0])
def test_the_queue_is_bounded_in_seconds_and_the_device_never_waits(step):
    launch = step / 20
    most, end = Device(step, launch).run(5_000)
    assert most <= max(SECONDS, LEAST * step) + 2 * step
    # It starts with the first launch, and has work from then on.
    assert end == pytest.approx(launch + 5_000 * step)


def test_a_host_that_is_slower_than_the_device_is_not_slowed():
    device = Device(step=0.001, launch=0.003)
    device.run(1_000)
    assert device.now == pytest.approx(1_000 * 0.003)


def test_a_cpu_has_no_queue():
    Backlog(torch.device("cpu"), Mock(side_effect=AssertionError("an event"))).launched()
