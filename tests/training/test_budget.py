"""Budgets: what follows them, in steps as it always was, and by the clock."""

import math
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorder import Recorder, at_row, leave_at, recorded

from ditbench.config import load
from ditbench.errors import DitbenchError
from ditbench.files import read_json
from ditbench.models.registry import block_class, block_names
from ditbench.runs.planning import plan as plan_module
from ditbench.runs.planning.plan import build_trainer, plan_all
from ditbench.runs.run import execute
from ditbench.training.batches import Batches
from ditbench.training.budget import evaluation_steps, step_budget, time_budget
from ditbench.training.trainer import EvaluationDue, Logged


def walk(budget, positions):
    """Where a trainer that passes these positions logs and evaluates, and how it ends."""
    logged, evaluated, before = [], [], 0.0
    for position in positions:
        if budget.evaluates(position, len(evaluated)):
            evaluated.append(position)
        if budget.logs(before, position) or budget.ends(len(evaluated)):
            logged.append(position)
        before = position
        if budget.ends(len(evaluated)):
            return logged, evaluated
    raise AssertionError("it does not end")


@given(steps=st.integers(1, 3000), points=st.integers(1, 20), warmup=st.floats(0, 1))
def test_a_step_budget_is_what_it_always_was(steps, points, warmup):
    """Against the formulas that the reference runs were made with."""
    points = min(points, steps)
    budget = step_budget(steps, points, warmup)
    logged, evaluated = walk(budget, range(1, steps + 1))
    log_every = max(1, steps // 200)
    assert logged == [n for n in range(1, steps + 1) if n % log_every == 0 or n == steps]
    assert evaluated == [round(steps * (k + 1) / points) for k in range(points)]
    for step in {0, steps // 30, steps // 2, steps - 1}:
        assert budget.ramp(step) == min(1.0, (step + 1) / max(warmup * steps, 1.0))
    assert budget.position(7, lambda: math.nan) == 7


def test_evaluations_are_evenly_spaced_and_end_with_the_budget():
    assert evaluation_steps(1200, 6) == [200, 400, 600, 800, 1000, 1200]
    assert evaluation_steps(10, 3) == [3, 7, 10]
    assert evaluation_steps(3, 3) == [1, 2, 3]


@given(seconds=st.floats(0.01, 1e6), points=st.integers(1, 20), step_share=st.floats(1e-4, 3))
def test_a_time_budget_evaluates_at_equal_shares_and_logs_in_measure(seconds, points, step_share):
    budget = time_budget(seconds, points, 0.1)
    step = seconds * step_share
    logged, evaluated = walk(budget, (step * n for n in range(1, 50_000)))
    assert len(evaluated) == points
    assert len(logged) <= 200 + points
    assert logged[-1] == evaluated[-1] >= seconds * (1 - 1e-9)
    if step_share < 1 / (2 * points):
        for k, position in enumerate(evaluated):
            mark = seconds * (k + 1) / points
            assert mark * (1 - 1e-9) <= position <= mark + step * 1.001


def test_a_time_budget_warms_up_by_the_clock():
    budget = time_budget(100.0, 2, 0.1)
    assert [budget.ramp(second) for second in (0, 2.5, 10, 99)] == [0, 0.25, 1, 1]
    assert time_budget(100.0, 2, 0.0).ramp(0.0) == 1


@pytest.fixture
def clock(monkeypatch):
    """A clock that only training moves: half a second an update, unless a test says more."""

    class Clock:
        now, step = 0.0, 0.5

        def perf_counter(self):
            return self.now

    clock, original = Clock(), Batches.take

    def take(self, *chosen):
        clock.now += clock.step
        return original(self, *chosen)

    monkeypatch.setattr("ditbench.training.device.stopwatch.time", clock)
    monkeypatch.setattr(Batches, "take", take)
    return clock


def test_training_ends_with_the_time(make_plan, clock):
    trainer = build_trainer(make_plan(budget__seconds=6.0, train__warmup=0.5))
    events = []
    for event in trainer.run():
        clock.now += 1000.0  # what the caller does is not training
        events.append(event)
    evaluated = [event for event in events if isinstance(event, EvaluationDue)]
    assert [(event.step, event.seconds) for event in evaluated] == [(4, 2.0), (8, 4.0), (12, 6.0)]
    logged = [event for event in events if isinstance(event, Logged)]
    assert [event.step for event in logged] == list(range(1, 13))
    rates = [1e-3 * min(1, n * 0.5 / 3) for n in range(12)]
    assert [event.lr for event in logged] == pytest.approx(rates)


def test_every_evaluation_has_an_update_of_its_own(make_plan, clock):
    clock.step = 5.0
    trainer = build_trainer(make_plan(budget__seconds=6.0))
    due = [event for event in trainer.run() if isinstance(event, EvaluationDue)]
    assert [event.step for event in due] == [1, 2, 3]


def test_after_a_resume_too_every_evaluation_has_an_update_of_its_own(make_plan, clock):
    """Killed after each evaluation, when the time for the next one is up already."""
    clock.step = 5.0
    plan, started = make_plan(budget__seconds=6.0), []

    def interrupt(event):
        if event.kind == "started":
            started.append(event.step)
        if event.kind == "evaluated":
            raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            execute(plan, Recorder(interrupt))
    result = execute(plan, Recorder(interrupt))
    assert started == [0, 1, 2, 3]
    assert [row["step"] for row in plan.directory.read_evaluations()] == [1, 2, 3]
    assert result["train_seconds"] == 15.0


def test_a_run_by_the_clock_resumes_with_the_remaining_time(make_plan, clock, tmp_path):
    options = {"budget__seconds": 6.0}
    whole = execute(make_plan(out=tmp_path / "whole", **options))
    broken = make_plan(out=tmp_path / "broken", **options)
    leave_at(broken, at_row(6))
    clock.now += 1e6
    result, recorder = recorded(broken)
    assert (recorder.events[0].step, recorder.events[0].seconds) == (4, 2.0)
    assert (result["steps"], result["train_seconds"]) == (12, 6.0)
    for key in ("fid_40", "kid_40", "step", "seconds", "train_flops"):
        assert result["final"][key] == whole["final"][key]


def test_compute_by_the_clock_is_recorded_afterwards(make_plan, clock):
    run = make_plan(budget__seconds=6.0)
    result = execute(run)
    assert read_json(run.directory.cost)["train_flops"] is None
    assert result["train_flops"] == run.cost.train_flops_per_image * 12 * 16
    assert result["final"]["ema_decay"] == 1.0


def test_a_cheaper_block_trains_longer_on_the_same_flops(tmp_path, make_plan):
    flops = 3e12
    base = load("digits", overrides={"budget.flops": flops})
    configs = [base.with_values(block=name) for name in block_names("paper")]
    plans = plan_all(configs, tmp_path, make_plan().device)
    by_cost = sorted(plans, key=lambda run: run.cost.gmacs)
    steps = [run.budget.steps for run in by_cost]
    assert len({run.cost.gmacs for run in plans}) == len(plans)
    assert steps == sorted(steps, reverse=True)
    assert len(set(steps)) == len(steps)
    for run in plans:
        of_a_step = 6 * run.cost.gmacs * 1e9 * 128
        assert abs(run.train_flops(run.budget.steps) - flops) <= of_a_step / 2 * 1.000001
        assert run.budget.marks[-1] == run.budget.steps


def test_flops_and_the_steps_that_they_are_train_alike(make_plan, tmp_path):
    by_steps = make_plan(out=tmp_path / "steps", train__ema_decay=1.0)
    flops = by_steps.train_flops(6)
    by_flops = make_plan(out=tmp_path / "flops", budget__flops=flops)
    assert by_steps.config.fingerprint != by_flops.config.fingerprint
    one, two = (execute(run) for run in (by_steps, by_flops))
    for key in ("step", "fid_40", "kid_40", "train_flops"):
        assert one["final"][key] == two["final"][key]


def test_too_few_flops_are_refused_with_what_a_step_costs(make_plan):
    a_step = make_plan().train_flops(1)
    assert make_plan(budget__flops=a_step / 9, eval__points=1).budget.steps == 1
    with pytest.raises(DitbenchError, match=r"eval\.points \(3\) exceed the steps of") as raised:
        make_plan(budget__flops=2 * a_step)
    assert "--flops" in raised.value.hint
    assert "eval.points=2" in raised.value.hint


def test_equal_models_are_counted_once(make_plan, tmp_path, monkeypatch):
    run, spy = make_plan(), Mock(wraps=plan_module.count)
    monkeypatch.setattr(plan_module, "count", spy)
    blocks, seeds = ("adaln", "in-context"), (0, 1, 2)
    configs = [run.config.with_values(block=block, seed=seed) for seed in seeds for block in blocks]
    plans = plan_all(configs, tmp_path, run.device)
    counted = [call.kwargs["block"] for call in spy.call_args_list]
    assert counted == [block_class(block) for block in blocks]
    assert plans[0].cost is plans[2].cost is plans[4].cost
