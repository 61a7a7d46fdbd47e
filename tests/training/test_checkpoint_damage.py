"""Checkpoints, tables and results that are damaged: found, named, and what a run resumes from."""

import pytest
import torch
from clocks import assert_same_end
from kept import kept_files
from recorder import recorded
from safetensors import safe_open
from safetensors.torch import save_file

from ditbench.errors import DitbenchError
from ditbench.runs.run import execute
from ditbench.training.checkpoint import read_checkpoint


def test_a_number_that_was_changed_with_everything_else_right_is_found(broken):
    path = broken.directory.checkpoint
    tensors, _ = read_checkpoint(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(tensors, path, metadata)
    read_checkpoint(path)
    next(iter(tensors.values())).view(-1)[0] += 1
    save_file(tensors, path, metadata)
    with pytest.raises(DitbenchError, match="its checksum does not match its contents"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({}, "it has no 'counters'"),
        ({"counters": "{}"}, "it has no 'schema'"),
        ({"counters": '{"schema": 1}'}, "it has no 'sha256'"),
        ({"counters": '{"schema": 2}', "sha256": ""}, "it has schema 2, this version reads 1"),
        ({"counters": "[]", "sha256": ""}, "not a checkpoint"),
        ({"counters": "{", "sha256": ""}, "not a checkpoint"),
    ],
)
def test_a_checkpoint_of_another_version_is_named(tmp_path, metadata, reason):
    path = tmp_path / "latest.safetensors"
    save_file({"step": torch.zeros(1)}, path, metadata)
    with pytest.raises(DitbenchError, match="not a checkpoint of this run") as raised:
        read_checkpoint(path)
    assert reason in raised.value.message


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: None])
def test_what_cannot_be_read_is_named(tmp_path, make):
    make(tmp_path / "latest.safetensors")
    with pytest.raises(DitbenchError, match="not a checkpoint of this run"):
        read_checkpoint(tmp_path / "latest.safetensors")


def test_of_a_damaged_checkpoint_the_one_before_is_used_with_a_warning(broken, whole):
    latest, before = broken.directory.checkpoints
    step = read_checkpoint(before)[1]["step"]
    latest.write_bytes(latest.read_bytes()[:-1])
    _, recorder = recorded(broken)
    (warned,) = recorder.of("warned")
    assert "latest.safetensors is not a checkpoint of this run" in warned.text
    assert warned.text.endswith(f"; resuming from the previous one, of step {step}")
    (started,) = recorder.of("started")
    assert started.step == step > 0
    assert_same_end(broken, whole)


@pytest.mark.parametrize("name", ["train", "evaluations"])
def test_tables_that_lack_rows_of_the_checkpoint_are_damage_too(broken, name, whole):
    """The checkpoint before counts fewer rows, and they may all be there."""
    table = getattr(broken.directory, name)
    latest, before = (read_checkpoint(path)[1] for path in broken.directory.checkpoints)
    counted = {"train": "logged", "evaluations": "evaluations"}[name]
    if latest[counted] == before[counted]:
        broken.directory.write_checkpoint(broken.directory.checkpoint.read_bytes())
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[: latest[counted]]))  # the header and all rows but one
    if latest[counted] > before[counted]:
        _, recorder = recorded(broken)
        assert any("rows, its checkpoint counts" in getattr(e, "text", "") for e in recorder.events)
        assert_same_end(broken, whole)
    else:
        with pytest.raises(DitbenchError, match="rows, its checkpoint counts"):
            execute(broken)


def test_two_damaged_checkpoints_end_it_and_nothing_is_deleted(broken):
    for path in broken.directory.checkpoints:
        path.write_bytes(b"")
    before = kept_files(broken.directory.path)
    with pytest.raises(DitbenchError, match=r"latest\.safetensors .*previous\.safeten") as raised:
        execute(broken)
    assert raised.value.exit_code == 1
    assert raised.value.hint == "move the run directory away and run it again"
    assert kept_files(broken.directory.path) == before


@pytest.mark.parametrize("damaged", [b"\xff\xfe", b"step\nx\n"])
def test_a_damaged_table_ends_it_and_nothing_is_deleted(broken, damaged):
    broken.directory.train.write_bytes(damaged * 2)
    before = kept_files(broken.directory.path)
    with pytest.raises(DitbenchError, match=r"train\.csv is damaged") as raised:
        execute(broken)
    assert raised.value.exit_code == 1
    assert kept_files(broken.directory.path) == before


def test_a_result_that_is_damaged_is_made_anew_once_it_is_removed(make_plan):
    plan = make_plan()
    result = execute(plan)
    plan.directory.result.write_text("{")
    with pytest.raises(DitbenchError, match=r"result\.json is not JSON") as raised:
        execute(plan)
    assert raised.value.hint == "remove that file to run it again"
    plan.directory.result.unlink()
    again = execute(plan)
    assert again["final"] == result["final"]
    assert again["train_seconds"] == result["train_seconds"]
