"""Checkpoints: what they hold, how damage is found, and what a run resumes from."""

import json
import os
import random
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from recorder import Recorder
from safetensors import safe_open
from safetensors.torch import save_file

from ditbench.errors import DitbenchError
from ditbench.rows import read_rows
from ditbench.runs.planning.plan import build_model, build_trainer
from ditbench.runs.run import execute
from ditbench.training import budget
from ditbench.training import checkpoint as module
from ditbench.training.checkpoint import Saver, load_ema, read_checkpoint, resume, save_checkpoint
from ditbench.training.stop import Stopped, StopRequest
from ditbench.training.trainer import EvaluationDue
from ditbench.world import ALONE


@pytest.fixture
def often(monkeypatch):
    """A checkpoint after every row of the log."""
    monkeypatch.setattr(module, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(module, "SHARE_OF_TIME", 1e9)


def stop_after(step):
    def interrupt(event):
        if event.kind == "logged" and event.step == step:
            raise KeyboardInterrupt

    return Recorder(interrupt)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Run directories that many tests start from, each made once."""
    return {"path": tmp_path_factory.mktemp("made")}


@pytest.fixture
def broken(make_plan, often, made):
    """A run that was killed after the row of step 5: its checkpoints are two of step 4."""
    plan = make_plan()
    if "broken" not in made:
        with pytest.raises(KeyboardInterrupt):
            execute(plan, stop_after(5))
        made["broken"] = shutil.copytree(plan.directory.path, made["path"] / "broken")
    else:
        shutil.copytree(made["broken"], plan.directory.path)
    return plan


@pytest.fixture
def whole(make_plan, made):
    """The same run, uninterrupted: read only."""
    plan = make_plan(out=made["path"] / "whole")
    execute(plan)  # what is complete is not run again
    return plan


def trainer_state(trainer):
    """Everything that decides the next step, as lists."""
    return {
        "tensors": {name: value.tolist() for name, value in module._state(trainer).items()},
        "counters": trainer.counters(),
    }


# What a checkpoint holds


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
        plan.directory.append_train(dict.fromkeys(_columns(), step))
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
    with pytest.raises(KeyboardInterrupt):
        execute(stopped, stop_after(5))
    execute(stopped)
    uninterrupted = make_plan(block="joint", out=tmp_path / "whole", **switches)
    execute(uninterrupted)
    assert same_end(stopped, uninterrupted)
    tensors, _ = read_checkpoint(stopped.directory.checkpoint)
    gain = tensors["model.blocks.0.context_attn.qkv.k_norm.weight"]
    assert gain.shape == (8,)
    assert not gain.eq(1).all()  # it learns
    assert tensors["ema.registers.tokens.weight"].shape == (2, 16)


def _columns():
    return ("step", "images", "seconds", "loss", "lr", "grad_norm")


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
    before = files(other.directory.path)
    with pytest.raises(DitbenchError, match="not a checkpoint of this run") as raised:
        execute(other)
    assert raised.value.exit_code == 1
    assert files(other.directory.path) == before


def test_a_checkpoint_of_another_seed_is_refused(make_plan, broken):
    """Its shapes fit: only the recorded fingerprint and seed differ."""
    other = make_plan(seed=1)
    shutil.copytree(broken.directory.path, other.directory.path)
    with pytest.raises(DitbenchError, match="it belongs to another run") as raised:
        execute(other)
    assert raised.value.exit_code == 1


# Damage


def files(path):
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and file.name != ".lock"
    }


def test_any_altered_byte_is_found_or_changes_nothing(broken):
    """Header, metadata, checksum, numbers: a byte at each of many places."""
    path = broken.directory.checkpoint
    content = path.read_bytes()
    tensors, counters = read_checkpoint(path)
    draws, found = random.Random(0), 0
    places = [*range(0, 400, 7), *(draws.randrange(len(content)) for _ in range(40))]
    for place in places:
        altered = bytearray(content)
        altered[place] ^= 1 << draws.randrange(8)
        path.write_bytes(altered)
        try:
            ours, read = read_checkpoint(path)
        except DitbenchError as error:
            found += "not a checkpoint of this run: " in error.message
            continue
        assert read == counters
        assert ours.keys() == tensors.keys()
        assert all(torch.equal(ours[name], tensors[name]) for name in tensors)
    assert found > 0.95 * len(places)


@pytest.mark.parametrize("share", [0, 0.0001, 0.1, 0.5, 0.999])
def test_a_checkpoint_cut_short_is_found(broken, share):
    path = broken.directory.checkpoint
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DitbenchError, match="not a checkpoint of this run: "):
        read_checkpoint(path)


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


# Going on


def same_end(one, two):
    for name in ("train", "evaluations"):
        ours, theirs = (read_rows(getattr(plan.directory, name)) for plan in (one, two))
        for row in (*ours, *theirs):
            for clock in ("seconds", "sampling_seconds", "eval_seconds"):
                row.pop(clock, None)
        assert ours == theirs
    ours, theirs = (read_checkpoint(plan.directory.checkpoint)[0] for plan in (one, two))
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_of_a_damaged_checkpoint_the_one_before_is_used_with_a_warning(broken, whole):
    latest, before = broken.directory.checkpoints
    step = read_checkpoint(before)[1]["step"]
    latest.write_bytes(latest.read_bytes()[:-1])
    recorder = Recorder()
    execute(broken, recorder)
    events = recorder.events
    (warned,) = (event for event in events if event.kind == "warned")
    assert "latest.safetensors is not a checkpoint of this run" in warned.text
    assert warned.text.endswith(f"; resuming from the previous one, of step {step}")
    (started,) = (event for event in events if event.kind == "started")
    assert started.step == step > 0
    assert same_end(broken, whole)


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
        recorder = Recorder()
        execute(broken, recorder)
        events = recorder.events
        assert any("rows, its checkpoint counts" in getattr(e, "text", "") for e in events)
        assert same_end(broken, whole)
    else:
        with pytest.raises(DitbenchError, match="rows, its checkpoint counts"):
            execute(broken)


def test_two_damaged_checkpoints_end_it_and_nothing_is_deleted(broken):
    for path in broken.directory.checkpoints:
        path.write_bytes(b"")
    before = files(broken.directory.path)
    with pytest.raises(DitbenchError, match=r"latest\.safetensors .*previous\.safeten") as raised:
        execute(broken)
    assert raised.value.exit_code == 1
    assert raised.value.hint == "move the run directory away and run it again"
    assert files(broken.directory.path) == before


@pytest.mark.parametrize("damaged", [b"\xff\xfe", b"step\nx\n"])
def test_a_damaged_table_ends_it_and_nothing_is_deleted(broken, damaged):
    broken.directory.train.write_bytes(damaged * 2)
    before = files(broken.directory.path)
    with pytest.raises(DitbenchError, match=r"train\.csv is damaged") as raised:
        execute(broken)
    assert raised.value.exit_code == 1
    assert files(broken.directory.path) == before


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
    assert same_end(broken, whole)


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


def test_no_checkpoint_is_a_new_start(make_plan):
    plan = make_plan()
    trainer = build_trainer(plan)
    assert not resume(plan.directory, trainer, pytest.fail)
    assert not plan.directory.path.exists()


# How often


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


# Places that take no writing


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
    assert same_end(plan, whole)


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
