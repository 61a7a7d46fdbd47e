"""The share of the CPU, from made-up records of threads, and beside real processes."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from ditbench.runs.machine import contention as module
from ditbench.runs.machine.contention import CpuShare


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of four CPUs: its clocks, and the records of threads."""
    clock = SimpleNamespace(now=0.0, ran=0.0)
    clock.perf_counter, clock.process_time = lambda: clock.now, lambda: clock.ran

    def write(waited):
        for thread, seconds in waited.items():
            (tmp_path / thread).mkdir(exist_ok=True)
            (tmp_path / thread / "schedstat").write_text(f"7 {round(seconds * 1e9)} 3\n")

    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "_THREADS", tmp_path)
    monkeypatch.setattr(module, "_QUOTA", tmp_path / "quota")
    monkeypatch.setattr(module, "_QUOTA_1", tmp_path / "quota_1")
    monkeypatch.setattr(module, "_PERIOD_1", tmp_path / "period_1")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: range(4), raising=False)
    clock.write = write
    return clock


def pass_time(machine, wall, ran, waited):
    """The share after a stretch of time; the first of the threads existed before it."""
    machine.write({"1": 5.0})
    share = CpuShare()
    machine.now, machine.ran = wall, ran
    machine.write(waited)
    return share.read()


@pytest.mark.parametrize(
    ("ran", "waited", "share"),
    [
        (8.0, {"1": 5.0}, 1.0),
        (5.0, {"1": 10.0}, 0.5),
        (5.0, {"1": 12.0, "2": 8.0}, 0.25),
        (40.0, {"1": 45.0}, 1.0),  # all CPUs are its own: its threads waited for each other
        (10.0, {"1": 95.0}, 0.25),  # hundreds of threads on one CPU of four
    ],
)
def test_the_share_is_what_was_got_of_what_was_asked_for(machine, ran, waited, share):
    assert pass_time(machine, 10.0, ran, waited) == pytest.approx(share)


@pytest.mark.parametrize("version", [1, 2])
def test_the_quota_of_a_container_is_not_another_process(machine, tmp_path, version):
    if version == 1:
        (tmp_path / "quota_1").write_text("200000\n")
        (tmp_path / "period_1").write_text("100000\n")
    else:
        (tmp_path / "quota").write_text("200000 100000\n")
    assert pass_time(machine, 10.0, 20.0, {"1": 25.0}) == 1.0


@pytest.mark.parametrize("text", ["max 100000", "-1 100000", ""])
def test_a_container_without_a_quota_has_all_cpus(machine, tmp_path, text):
    (tmp_path / "quota").write_text(text)
    assert pass_time(machine, 10.0, 5.0, {"1": 20.0}) == 0.25


def test_where_nothing_is_recorded_the_share_is_whole(machine, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_THREADS", tmp_path / "none")
    share = CpuShare()
    machine.now, machine.ran = 10.0, 1.0
    assert share.read() == 1.0


@pytest.mark.skipif(not module._waited(), reason="this system does not record it")
def test_beside_processes_on_all_cpus_it_is_about_a_share_of_them():
    cpus = len(os.sched_getaffinity(0))
    command = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    others = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2 * cpus)]
    for each in others:
        each.stdout.readline()
    share, ends = CpuShare(), time.perf_counter() + 0.5
    while time.perf_counter() < ends:
        pass
    found = share.read()
    for each in others:
        each.kill()
        each.communicate()
    assert 0 < found < 0.8
