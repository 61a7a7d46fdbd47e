"""Training longer: a child equals a run that was trained so long at once."""

import json
import shutil
from unittest.mock import Mock

import pandas as pd
import pytest
import torch
from clocks import assert_same_end, timeless
from recorder import recorded, stop_at

from ditbench.config import read_toml, validate
from ditbench.errors import DitbenchError
from ditbench.report.reading.results import load_results
from ditbench.runs.origins import parent as parent_module
from ditbench.runs.origins.parent import child_of, notes_of, shorter
from ditbench.runs.planning.plan import plan_all
from ditbench.runs.run import execute

CPU = torch.device("cpu")


@pytest.fixture
def parent(make_plan):
    """A complete run of 6 steps, with a warm-up of 3 and evaluations at 2, 4 and 6."""
    plan = make_plan(train__warmup=0.5)
    execute(plan)
    return plan.directory


def plan_child(parent, steps, tmp_path):
    config = child_of(parent, steps)
    (plan,) = plan_all([config], tmp_path / "results", CPU)
    return plan.with_notes(notes_of(parent))


@pytest.mark.parametrize("objective", ["flow", "ddpm"])
def test_a_child_equals_a_run_that_was_trained_so_long_at_once(make_plan, tmp_path, objective):
    settings = {"objective__name": objective, "data__horizontal_flip": True}
    first = make_plan(train__warmup=0.5, **settings)
    execute(first)
    child = plan_child(first.directory, 12, tmp_path)
    execute(child)
    whole = make_plan(budget__steps=12, eval__points=6, train__warmup=0.25, **settings)
    execute(whole)
    assert_same_end(child, whole)
    steps = {path.name for path in child.directory.path.glob("samples/*.png")}
    assert steps == {f"step-{step:06d}.png" for step in range(2, 13, 2)}
    one, two = (each.directory.read_result() for each in (child, whole))
    assert one["steps"] == two["steps"] == 12
    assert one["train_flops"] == two["train_flops"]
    first_seconds = first.directory.read_result()["train_seconds"]
    assert one["train_seconds"] > first_seconds
    both = load_results(tmp_path / "results").query("path in @paths", local_dict={
        "paths": [str(child.directory.path), str(whole.directory.path)]})  # fmt: skip
    # They may be ranked together: only the block's own facts differ.
    assert both["recipe"].nunique() == both["budget"].nunique() == 1


def test_a_grandchild_equals_it_too(parent, make_plan, tmp_path):
    child = plan_child(parent, 8, tmp_path)
    execute(child)
    grandchild = plan_child(child.directory, 12, tmp_path)
    execute(grandchild)
    whole = make_plan(budget__steps=12, eval__points=6, train__warmup=0.25)
    execute(whole)
    assert_same_end(grandchild, whole)


def test_a_child_names_its_parent_and_has_a_fingerprint_of_its_own(parent, tmp_path):
    child = plan_child(parent, 12, tmp_path)
    before = validate(read_toml(parent.config))
    assert child.config.parent.fingerprint == before.fingerprint
    assert (child.config.parent.steps, child.config.parent.points) == (6, 3)
    assert child.config.train.warmup * 12 == before.train.warmup * 6
    moved = child.config.with_values(parent__path="elsewhere")
    assert moved.fingerprint == child.config.fingerprint
    assert child.config.with_values(parent={}).fingerprint != child.config.fingerprint
    execute(child)
    stored = validate(read_toml(child.directory.config))
    assert stored == child.config
    named = json.loads(child.directory.environment.read_text())["parent"]
    assert named == {"path": str(parent.path), "device": "cpu"}


@pytest.mark.parametrize(
    ("steps", "marks"), [(7, [7]), (8, [8]), (9, [8, 9]), (12, [8, 10, 12]), (13, [8, 10, 11, 13])]
)
def test_evaluations_continue_at_the_distance_of_the_parent(parent, tmp_path, steps, marks):
    found = plan_child(parent, steps, tmp_path).budget.marks
    assert found[:3] == [2, 4, 6]
    assert found[3:] == marks


def test_an_interrupted_child_resumes_without_its_parent(parent, make_plan, tmp_path):
    child = plan_child(parent, 12, tmp_path)
    stop_at(child, lambda event: event.kind == "evaluated")
    shutil.rmtree(parent.path)
    _, recorder = recorded(child)
    assert recorder.events[0].step == 9
    whole = make_plan(budget__steps=12, eval__points=6, train__warmup=0.25)
    execute(whole)
    assert_same_end(child, whole)


def test_a_child_that_was_killed_before_its_first_checkpoint_begins_again(
    parent, tmp_path, monkeypatch
):
    child = plan_child(parent, 12, tmp_path)

    with monkeypatch.context() as patch:
        patch.setattr(parent_module, "save_checkpoint", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            execute(child)
    assert not child.directory.checkpoints
    execute(child)
    steps = [row["step"] for row in timeless(child.directory.train)]
    assert steps == [str(number) for number in range(1, 13)]


def test_the_metrics_and_the_backend_are_those_of_the_parent(parent, tmp_path):
    facts = json.loads(parent.environment.read_text())
    del facts["metrics"]["coverage"]
    parent.environment.write_text(json.dumps(facts))
    _rewrite(parent, drop="coverage_40")
    child = plan_child(parent, 8, tmp_path)
    assert child.begun == "plain"
    result = execute(child)
    assert "coverage" not in [metric["name"] for metric in result["metrics"]]


def _rewrite(directory, drop):
    """Make a run one of schema 1 whose table lacks a column."""
    table = pd.read_csv(directory.evaluations, dtype=str)
    table.drop(columns=drop).to_csv(directory.evaluations, index=False)
    result = json.loads(directory.result.read_text()) | {"schema": 1}
    directory.result.write_text(json.dumps(result))


def test_what_cannot_be_continued_is_refused(parent, make_plan, tmp_path):
    with pytest.raises(DitbenchError, match="is not above the 6 steps"):
        child_of(parent, 6)
    with pytest.raises(DitbenchError, match="is not a run directory"):
        child_of(type(parent)(tmp_path), 12)
    parent.checkpoint.rename(parent.checkpoint.with_suffix(".away"))
    with pytest.raises(DitbenchError, match="has no checkpoint"):
        child_of(parent, 12)
    parent.checkpoint.with_suffix(".away").rename(parent.checkpoint)
    result = parent.result.read_text()
    parent.result.unlink()
    with pytest.raises(DitbenchError, match="is not complete"):
        child_of(parent, 12)
    parent.result.write_text(result)
    parent.train.write_text(parent.train.read_text() + "\n")
    with pytest.raises(DitbenchError, match=r"train\.csv was changed"):
        child_of(parent, 12)


def test_a_budget_of_compute_continues_in_steps(make_plan, tmp_path):
    flops = make_plan().train_flops(6)
    plan = make_plan(budget__flops=flops, train__warmup=0.5)
    assert execute(plan)["steps"] == 6
    child = plan_child(plan.directory, 12, tmp_path)
    assert (child.budget.steps, child.budget.warmup) == (12, 3)
    # Without a bound, as under a budget of compute.
    assert child.config.train.ema_decay == plan.config.train.ema_decay == 1.0
    assert execute(child)["steps"] == 12


def test_a_budget_of_time_has_no_child(make_plan, tmp_path):
    plan = make_plan(budget__seconds=0.2, eval__points=1)
    execute(plan)
    with pytest.raises(DitbenchError, match="budget of time"):
        child_of(plan.directory, 10**6)


@pytest.mark.parametrize("damage", ["gone", "byte", "step", "other seed"])
def test_a_damaged_parent_leaves_nothing_behind(parent, tmp_path, damage):
    child = plan_child(parent, 12, tmp_path)
    if damage == "gone":
        parent.path.rename(tmp_path / "moved")
    elif damage == "byte":
        content = bytearray(parent.checkpoint.read_bytes())
        content[-1] ^= 1
        parent.checkpoint.write_bytes(content)
    elif damage == "step":
        shutil.copy(parent.path / "checkpoints" / "previous.safetensors", parent.checkpoint)
    else:
        (child,) = plan_all([child.config.with_values(seed=1)], tmp_path / "results", CPU)
    with pytest.raises(DitbenchError) as caught:
        execute(child)
    assert caught.value.exit_code == 1
    assert not child.directory.config.exists()


def test_a_parent_of_another_kind_of_device_is_refused(parent, tmp_path):
    child = plan_child(parent, 12, tmp_path)
    result = json.loads(parent.result.read_text()) | {"device": "NVIDIA H200"}
    parent.result.write_text(json.dumps(result))
    with pytest.raises(DitbenchError, match="was trained on NVIDIA H200"):
        execute(child)


def test_a_shorter_run_is_found_if_nothing_else_differs(parent, make_plan):
    def of(**values):
        return shorter(make_plan(**{"train__warmup": 0.5, **values}))

    assert of(budget__steps=12) == parent.path
    assert of() is None
    assert of(budget__steps=5) is None
    assert of(budget__steps=12, train__warmup=0.25) is None
    assert of(budget__steps=12, train__lr=5e-4) is None
    assert of(budget__steps=12, seed=1) is None
    longer = make_plan(budget__steps=8, train__warmup=0.5)
    execute(longer)
    assert of(budget__steps=12) == longer.directory.path
