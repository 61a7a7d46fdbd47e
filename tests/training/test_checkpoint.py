"""Checkpoints: what they hold, how damage is found, and what a run resumes from."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from clocks import assert_same_end
from kept import kept_files
from recorder import Recorder, at_row, leave_at

from ditbench.errors import DitbenchError
from ditbench.rows import read_rows
from ditbench.rundir import TRAIN_COLUMNS
from ditbench.runs.planning.plan import build_model, build_trainer
from ditbench.runs.run import execute
from ditbench.training import budget
from ditbench.training import checkpoint as module
from ditbench.training.checkpoint import Saver, load_ema, read_checkpoint, resume, save_checkpoint
from ditbench.training.stop import Stopped, StopRequest
from ditbench.training.trainer import EvaluationDue
from ditbench.world import ALONE


def trainer_state(trainer):
    """Everything that decides the next step, as lists."""
    return {
        "tensors": {name: value.tolist() for name, value in module._state(trainer).items()},
        "counters": trainer.counters(),
    }


def asked_to_stop(trainer, stop, step):
    for event in trainer.run(stop):
        if isinstance(event, EvaluationDue) and event.step == step:
            stop.number = 15
        yield event


def test_a_checkpoint_brings_everything_back(make_plan, monkeypatch):
    """Between two rows of the log, when the sums of the next one are half made."""
    monkeypatch.setattr(budget, "LOG_ROWS", 2)
    plan = make_plan(train__on_nonfinite="skip")
    trainer, stop = build_trainer(plan), StopRequest()
    with pytest.raises(Stopped):
        list(asked_to_stop(trainer, stop, step=4))
    assert (trainer.step, trainer.loss_count) == (5, 2)
    trainer.sentinel.count += 3
    trainer.skipped, trainer.logged = 2, 5
    plan.directory.start("", {}, {})
    for step in range(5):
        plan.directory.append_train(dict.fromkeys(TRAIN_COLUMNS, step))
    for step in range(trainer.evaluations):
        plan.directory.append_evaluation({"step": step})
    save_checkpoint(plan.directory, trainer)
    other = build_trainer(plan)
    assert trainer_state(other) != trainer_state(trainer)
    assert resume(plan.directory, other, pytest.fail)
    assert trainer_state(other) == trainer_state(trainer)
    types = {name: value.dtype for name, value in module._state(trainer).items()}
    assert {name: value.dtype for name, value in module._state(other).items()} == types
    for _ in range(3):
        trainer.update()
        other.update()
    assert trainer_state(other) == trainer_state(trainer)


def test_a_resumed_run_with_all_switches_ends_as_the_uninterrupted_one(make_plan, often, tmp_path):
    switches = {"model__qk_norm": True, "model__norm": "rms", "model__registers": 2}
    stopped = make_plan(block="joint", **switches)
    leave_at(stopped, at_row(5))
    execute(stopped)
    uninterrupted = make_plan(block="joint", out=tmp_path / "whole", **switches)
    execute(uninterrupted)
    assert_same_end(stopped, uninterrupted)
    tensors, _ = read_checkpoint(stopped.directory.checkpoint)
    gain = tensors["model.blocks.0.context_attn.qkv.k_norm.weight"]
    assert gain.shape == (8,)
    assert not gain.eq(1).all()  # it learns
    assert tensors["ema.registers.tokens.weight"].shape == (2, 16)


def test_the_averaged_weights_are_loaded_with_their_step(broken):
    model = build_model(broken)
    step = load_ema(broken.directory.checkpoint, model)
    tensors, counters = read_checkpoint(broken.directory.checkpoint)
    assert step == counters["step"] == 4
    assert all(torch.equal(v, tensors[f"ema.{name}"]) for name, v in model.state_dict().items())


def test_a_checkpoint_of_another_model_is_refused(make_plan, broken):
    other = make_plan(model__depth=1)
    model = build_model(other)
    with pytest.raises(DitbenchError, match="not a checkpoint of this run"):
        load_ema(broken.directory.checkpoint, model)
    shutil.copytree(broken.directory.path, other.directory.path)
    before = kept_files(other.directory.path)
    with pytest.raises(DitbenchError, match="not a checkpoint of this run") as raised:
        execute(other)
    assert raised.value.exit_code == 1
    assert kept_files(other.directory.path) == before


def test_a_checkpoint_of_another_seed_is_refused(make_plan, broken):
    """Its shapes fit: only the recorded fingerprint and seed differ."""
    other = make_plan(seed=1)
    shutil.copytree(broken.directory.path, other.directory.path)
    with pytest.raises(DitbenchError, match="it belongs to another run") as raised:
        execute(other)
    assert raised.value.exit_code == 1


def test_a_checkpoint_that_a_crash_kept_from_its_place_is_put_there(broken):
    """Between two renames: `next` is whole, and there is no latest."""
    latest, before = broken.directory.checkpoints
    expected = latest.read_bytes()
    latest.replace(latest.with_name("next.safetensors"))
    trainer = build_trainer(broken)
    assert resume(broken.directory, trainer, pytest.fail)
    assert latest.read_bytes() == expected
    assert broken.directory.checkpoints == [latest, before]


def test_a_resumed_run_writes_its_removed_configuration_again(broken, whole):
    text = broken.directory.config.read_text()
    broken.directory.config.unlink()
    broken.directory.environment.unlink()
    execute(broken)
    assert broken.directory.config.read_text() == text
    assert json.loads(broken.directory.environment.read_text())["device"] == "cpu"
    assert_same_end(broken, whole)


def test_what_was_left_half_written_is_gone_at_the_end(broken):
    directory = broken.directory
    (directory.path / ".tmp-abc").write_text("half")
    (directory.path / "samples" / ".tmp-def").write_text("half")
    directory.lock.write_text("99999\n")
    with directory.train.open("a") as file:
        file.write("6,9")
    execute(broken)
    names = {path.name for path in directory.path.rglob("*") if path.is_file()}
    assert not {name for name in names if name.startswith(".")}
    assert [row["step"] for row in read_rows(directory.train)] == [1, 2, 3, 4, 5, 6]


def test_no_checkpoint_is_a_new_start(make_plan):
    plan = make_plan()
    trainer = build_trainer(plan)
    assert not resume(plan.directory, trainer, pytest.fail)
    assert not plan.directory.path.exists()


def test_a_checkpoint_is_due_by_the_clock_and_by_what_it_costs(make_plan, monkeypatch):
    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

    clock, saved = Clock(), []

    def save(_directory, _trainer):
        saved.append(clock.now)
        clock.now += 3.0

    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "save_checkpoint", save)
    saver = Saver(None, SimpleNamespace(world=ALONE))
    for second in range(500):
        clock.now = max(clock.now, second)
        saver.save_if_due()
    # 60 seconds at first; then 3 seconds of saving are 2% of 150.
    assert saved == [60.0, 213.0, 366.0]


@pytest.mark.parametrize(
    ("owner", "name"), [(os, "fsync"), (Path, "replace"), (tempfile, "NamedTemporaryFile")]
)
@pytest.mark.parametrize("nth", [2, 12])
def test_a_disk_that_is_full_at_any_moment_leaves_the_last_checkpoint(
    make_plan, monkeypatch, often, owner, name, nth, whole
):
    """Exit code 1, a line that names the file; with room again, the same end."""
    plan = make_plan()
    calls = []

    def full(original):
        def call(*arguments, **options):
            calls.append(original)
            if len(calls) >= nth:
                raise OSError(28, "No space left on device")
            return original(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, full(getattr(owner, name)))
        with pytest.raises(DitbenchError, match="No space left on device") as raised:
            execute(plan)
    assert raised.value.exit_code == 1
    assert raised.value.hint
    for path in plan.directory.checkpoints:
        read_checkpoint(path)
    execute(plan)
    assert_same_end(plan, whole)


def test_a_directory_that_vanishes_ends_the_run(make_plan):
    plan = make_plan()

    def remove(event):
        if event.kind == "logged" and event.step == 3:
            shutil.rmtree(plan.directory.path)

    with pytest.raises(DitbenchError, match="is gone: it was removed while the run") as raised:
        execute(plan, Recorder(remove))
    assert raised.value.exit_code == 1
    assert not plan.directory.path.exists()
    assert execute(plan)["steps"] == 6
