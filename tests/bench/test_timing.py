"""Timing in turn, and the spread of parts."""

from statistics import median

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from plans import CPU, make_plan

from ditbench.bench import timing
from ditbench.bench.adapters import OURS
from ditbench.bench.diffusers_peer import EAGER
from ditbench.bench.timing import LEAST_PARTS, PARTS, Length, Timed, time_in_turn


class Clock:
    """One that moves when something is done."""

    now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("ditbench.bench.timing.time", clock)
    return clock


def test_parts_alternate_and_each_has_its_own_times(clock):
    order = []

    def step(name, seconds):
        def make():
            order.append(name)
            clock.now += seconds

        return make

    timed = [Timed(step("a", 1.0), parts=3, steps=2), Timed(step("b", 5.0), parts=2, steps=1)]
    assert time_in_turn(timed, CPU) == [[1.0, 1.0, 1.0], [5.0, 5.0]]
    assert "".join(order) == "aabaabaa"


def test_a_machine_that_slows_down_does_not_move_the_ratio(clock):
    """Twice as slow halfway: medians one after the other would differ."""
    slowness = iter([1.0] * 20 + [2.0] * 20)

    def step():
        clock.now += next(slowness)

    first, second = time_in_turn([Timed.of(step, 20), Timed.of(step, 20)], CPU)
    assert median(first) == median(second) == 1.5


@given(st.integers(1, 10**6))
def test_steps_make_at_least_ten_parts_of_about_as_many_steps(steps):
    timed = Timed.of(lambda: None, steps)
    assert LEAST_PARTS <= timed.parts <= PARTS
    assert timed.steps >= 1
    if steps >= LEAST_PARTS:
        assert timed.parts * timed.steps == pytest.approx(steps, abs=timed.parts / 2 + 1)


def test_seconds_are_filled_with_as_many_steps(clock):
    def step():
        clock.now += 0.01

    timed = Length(seconds=4.0).timed(step, CPU)
    assert (timed.parts, timed.steps) == (20, 20)
    assert Length(seconds=1e-6).timed(step, CPU).parts == LEAST_PARTS


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("adapter", [OURS, EAGER])
def test_no_part_waits_for_the_gpu(adapter):
    """The host runs ahead through all parts: it waits once, when they are over."""
    plan = make_plan(device=torch.device("cuda"), train__precision="bf16")
    candidate = adapter.build(plan)
    for _ in range(8):
        candidate.update()
    timed = Timed(candidate.update, parts=3, steps=2)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        (seconds,) = timing.time_in_turn([timed], plan.device)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(seconds) == timed.parts
    assert min(seconds) > 0
