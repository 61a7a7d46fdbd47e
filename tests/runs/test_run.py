"""A whole run: its directory, its repetition, its resumption."""

import json
from unittest.mock import Mock

import pytest
import torch
from clocks import assert_same_end, cells, timeless
from PIL import Image
from recorder import at_row, leave_at, recorded

from ditbench.errors import DitbenchError
from ditbench.metrics import find_metrics
from ditbench.models.registry import block_names
from ditbench.rundir import TRAIN_COLUMNS
from ditbench.runs import run as run_module
from ditbench.runs.planning.plan import build_model
from ditbench.runs.run import execute
from ditbench.training.checkpoint import load_ema
from ditbench.training.trainer import Trainer


def test_a_run_leaves_what_the_design_says(make_plan):
    plan = make_plan()
    result, recorder = recorded(plan)
    directory = plan.directory
    assert directory.path.name == f"seed0-{plan.config.fingerprint[:8]}"
    assert [row["step"] for row in cells(directory.train)] == list("123456")
    assert tuple(cells(directory.train)[0]) == TRAIN_COLUMNS
    evaluations = cells(directory.evaluations)
    assert [row["step"] for row in evaluations] == ["2", "4", "6"]
    assert {"fid_40", "kid_40", "label_accuracy", "features", "cfg_scale"} <= {*evaluations[0]}
    for step in (2, 4, 6):
        with Image.open(directory.samples(step)) as grid:
            assert grid.mode == "RGB"
            assert grid.width > grid.height
    stored = json.loads(directory.result.read_text())
    assert stored == {**stored, **result}
    default = [metric.name for metric in find_metrics()]
    assert [metric["name"] for metric in result["metrics"]] == default
    assert result["scoring"]["features"] == "digits"
    assert result["scoring"]["features_digest"] == result["features_digest"]
    assert result["final"]["step"] == 6
    assert result["train_flops"] == plan.cost.train_flops_per_image * 6 * 16
    assert result["steps_per_second"] == pytest.approx(6 / result["train_seconds"])
    assert recorder.events[0].kind == "started"
    assert [event.row["step"] for event in recorder.of("evaluated")] == [2, 4, 6]
    assert recorder.events[-1].kind == "finished"
    environment = json.loads(directory.environment.read_text())
    assert environment["device"] == "cpu"
    assert environment["packages"]["torch"] == torch.__version__.split("+")[0]


def test_a_complete_run_is_not_run_again(make_plan, monkeypatch):
    first = execute(make_plan())
    monkeypatch.setattr(run_module, "build_trainer", None)
    stored, recorder = recorded(make_plan())
    assert stored == {**stored, **first}
    assert [event.reused for event in recorder.events] == [True]


@pytest.mark.parametrize(
    ("block", "objective"),
    [*((block, "ddpm") for block in block_names("paper")), ("adaln-zero", "flow")],
)
def test_an_interrupted_run_ends_as_the_uninterrupted_one(make_plan, tmp_path, block, objective):
    options = {"block": block, "objective__name": objective}
    whole = make_plan(out=tmp_path / "whole", **options)
    execute(whole)
    broken = make_plan(out=tmp_path / "broken", **options)
    leave_at(broken, at_row(5))  # between evaluations: rows are written that must be taken back
    assert not broken.directory.is_complete()
    _, recorder = recorded(broken)
    assert recorder.events[0].step == 4
    assert_same_end(broken, whole)
    assert timeless(whole.directory.train)[-1]["step"] == "6"


def test_the_averaged_weights_are_what_is_evaluated(make_plan, monkeypatch):
    plan = make_plan()
    spy = Mock(wraps=run_module.evaluate)
    monkeypatch.setattr(run_module, "evaluate", spy)
    execute(plan)
    models = [call.args[2] for call in spy.mock_calls]
    saved = build_model(plan)
    load_ema(plan.directory.checkpoint, saved)
    assert len(set(map(id, models))) == 1
    for name, value in models[0].state_dict().items():
        assert torch.equal(value, saved.state_dict()[name])


def test_building_and_training_leave_the_global_stream_alone(make_plan):
    before = torch.random.get_rng_state()
    execute(make_plan())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_out_of_memory_says_what_to_lower(make_plan, monkeypatch):
    failure = Mock(side_effect=torch.OutOfMemoryError("CUDA out of memory"))
    monkeypatch.setattr(Trainer, "update", failure)
    with pytest.raises(DitbenchError, match="batch size 16 in training") as raised:
        execute(make_plan())
    assert raised.value.exit_code == 1
    options = ("--batch-size 8", "--set train.micro_batch=8", "--set train.checkpoint_blocks=true")
    assert all(option in raised.value.hint for option in options)
    saving = {"train__micro_batch": 4, "train__checkpoint_blocks": True}
    with pytest.raises(DitbenchError, match="batch size 16, 4 at a time") as raised:
        execute(make_plan(**saving))
    assert "--set train.micro_batch=2;" in raised.value.hint
    assert "checkpoint_blocks" not in raised.value.hint
