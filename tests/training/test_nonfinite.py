"""A loss or gradient that is not finite; and gradients that are too long."""

import copy
import json
import math
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from plain import train_plainly
from recorder import at_row, leave_at

from ditbench.config import load, read_toml, validate
from ditbench.errors import DitbenchError
from ditbench.rows import read_rows
from ditbench.runs.planning.plan import build_trainer, plan_all
from ditbench.runs.run import execute
from ditbench.training.checkpoint import read_checkpoint
from ditbench.training.nonfinite import Diverged, Sentinel
from ditbench.training.trainer import Logged, Trainer

CPU = torch.device("cpu")
REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def spoil_loss(patch, steps, value=math.nan):
    """Multiply the loss of some steps, counted from 1: its gradients follow."""
    create = Trainer.__init__

    def spoiled(self, *arguments, **options):
        create(self, *arguments, **options)
        loss_at, self.objective = self.objective.loss_at, copy.copy(self.objective)
        self.objective.loss_at = lambda *given: (
            loss_at(*given) * (value if self.step + 1 in steps else 1.0)
        )

    patch.setattr(Trainer, "__init__", spoiled)


def spoil_gradient(patch, steps):
    """Put an infinity into one gradient of some steps; their loss stays finite."""
    original = torch.nn.utils.get_total_norm
    calls = []

    def norm(gradients):
        calls.append(None)
        if len(calls) in steps:
            gradients[3].view(-1)[0] = math.inf
        return original(gradients)

    patch.setattr(torch.nn.utils, "get_total_norm", norm)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_run_stops_at_the_step_whose_loss_is_not_finite(make_plan, monkeypatch, value):
    plan = make_plan()
    spoil_loss(monkeypatch, {5}, value)
    with pytest.raises(Diverged, match=r"diverged: at step 5 the loss is") as raised:
        execute(plan)
    assert raised.value.exit_code == 1
    for words in ("--lr 3e-04", "train.grad_clip=1", "train.on_nonfinite=skip"):
        assert words in raised.value.hint
    assert [row["step"] for row in read_rows(plan.directory.train)] == [1, 2, 3, 4]
    assert read_checkpoint(plan.directory.checkpoint)[1]["step"] == 4
    failure = json.loads(plan.directory.failure.read_text())
    assert failure == {"reason": raised.value.message, "step": 5, "loss": None, "grad_norm": None}


def test_a_run_stops_at_the_step_whose_gradient_is_not_finite(make_plan, monkeypatch):
    plan = make_plan()
    spoil_gradient(monkeypatch, {3})
    with pytest.raises(Diverged, match=r"at step 3 the loss is \d.* gradient inf"):
        execute(plan)
    failure = json.loads(plan.directory.failure.read_text())
    assert (failure["step"], failure["grad_norm"]) == (3, None)
    assert failure["loss"] > 0
    assert [row["step"] for row in read_rows(plan.directory.train)] == [1, 2]


def test_between_two_rows_too_it_stops_at_that_step(make_plan, monkeypatch):
    plan = make_plan(budget__steps=400, eval__points=1)  # a row every two steps
    spoil_loss(monkeypatch, {5})
    trainer = build_trainer(plan)
    with pytest.raises(Diverged, match="at step 5 "):
        list(trainer.run())
    assert trainer.step == 5


def test_the_same_command_resumes_and_a_run_that_succeeds_has_no_failure(make_plan, tmp_path):
    plan, whole = make_plan(), make_plan(out=tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        spoil_loss(patch, {5})
        with pytest.raises(Diverged):
            execute(plan)
        with pytest.raises(Diverged, match="at step 5 "):  # from step 4, and again
            execute(plan)
    assert plan.directory.failure.is_file()
    assert execute(plan)["final"]["fid_40"] == execute(whole)["final"]["fid_40"]
    assert not plan.directory.failure.exists()
    assert [row["step"] for row in read_rows(plan.directory.train)] == [1, 2, 3, 4, 5, 6]


def test_a_full_disk_does_not_hide_that_it_diverged(make_plan, monkeypatch):
    from ditbench.rundir import RunDirectory

    failure = Mock(side_effect=DitbenchError("cannot write failure.json"))
    monkeypatch.setattr(RunDirectory, "write_failure", failure)
    spoil_loss(monkeypatch, {1})
    with pytest.raises(Diverged):
        execute(make_plan())


@pytest.mark.parametrize("spoil", [spoil_loss, spoil_gradient])
@pytest.mark.parametrize("bad", [{1}, {3, 4}, set()])
def test_a_skipped_update_is_one_that_was_never_made(make_plan, monkeypatch, spoil, bad):
    """Weights, average and all that follows, bit for bit."""
    plan = make_plan(train__on_nonfinite="skip")
    expected, average, losses, _ = train_plainly(plan, 6, bad)
    spoil(monkeypatch, bad)
    trainer = build_trainer(plan)
    rows = [event for event in trainer.run() if isinstance(event, Logged)]
    for ours, theirs in ((trainer.model, expected), (trainer.ema.model, average)):
        for name, value in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[name], value), name
    wanted = [math.nan if n in bad else loss for n, loss in enumerate(losses, start=1)]
    np.testing.assert_array_equal([row.loss for row in rows], wanted)


def test_skipped_updates_are_counted_and_left_out_of_the_mean_loss(make_plan, monkeypatch):
    options = {"budget__steps": 400, "eval__points": 1, "train__on_nonfinite": "skip"}
    plan = make_plan(**options)
    losses = train_plainly(plan, 6, {2, 5, 6})[2]
    spoil_loss(monkeypatch, {2, 5, 6})
    trainer, rows = build_trainer(plan), []
    for event in trainer.run():
        rows.append(event)
        if event.step == 6:
            break
    assert [row.step for row in rows] == [2, 4, 6]
    assert rows[0].loss == losses[0]
    assert rows[1].loss == pytest.approx(sum(losses[2:4]) / 2, rel=1e-6)
    assert math.isnan(rows[2].loss)
    assert int(trainer.sentinel.count) == 3


def test_a_run_with_skipped_updates_ends_and_says_how_many(make_plan, monkeypatch, tmp_path):
    plan = make_plan(train__on_nonfinite="skip")
    whole = make_plan(out=tmp_path / "whole", train__on_nonfinite="skip")
    spoil_loss(monkeypatch, {3, 5})
    assert execute(whole)["skipped_updates"] == 2
    leave_at(plan, at_row(5))
    result = execute(plan)
    assert result["skipped_updates"] == 2
    assert result["final"]["fid_40"] == execute(whole)["final"]["fid_40"]
    losses = [[row["loss"] for row in read_rows(run.directory.train)] for run in (plan, whole)]
    assert str(losses[0]) == str(losses[1])  # nan is not equal to nan


def test_an_update_that_is_refused_leaves_weights_and_moments_untouched(make_plan, monkeypatch):
    spoil_loss(monkeypatch, {4})
    trainer = build_trainer(make_plan(train__on_nonfinite="skip"))
    for _ in range(3):
        trainer.update()

    def state():
        moments = [trainer.optimizer.state[weight] for weight in trainer.parameters]
        tensors = [*trainer.parameters, *(value for each in moments for value in each.values())]
        return [tensor.detach().clone() for tensor in tensors]

    before = state()
    trainer.update()
    assert all(torch.equal(one, two) for one, two in zip(before, state(), strict=True))
    trainer.update()
    assert not all(torch.equal(one, two) for one, two in zip(before, state(), strict=True))


def test_the_reference_is_what_is_still_computed():
    """The sentinel changes nothing where nothing is wrong: the first rows of a committed run."""
    (directory,) = REFERENCE.glob("pilot/digits/adaln-zero/seed0-*")
    config = validate(read_toml(directory / "config.toml"))
    trainer = build_trainer(plan_all([config], Path("unused"), CPU)[0])
    expected = read_rows(directory / "train.csv")[:3]
    for row, event in zip(expected, trainer.run(), strict=False):
        assert event.step == row["step"]
        # Another processor may round otherwise; on one, these are equal to the last digit.
        assert event.loss == pytest.approx(row["loss"], rel=1e-5)
        assert event.grad_norm == pytest.approx(row["grad_norm"], rel=1e-4)


@pytest.mark.parametrize("skip", [False, True])
def test_the_sentinel_remembers_the_first_and_counts_all(skip):
    sentinel = Sentinel(CPU, skip=skip)
    good, bad = torch.tensor(0.5), torch.tensor(math.inf)
    seen = [(good, good), (good, bad), (good, good), (bad, good)]
    sentinel.updates.fill_(2**24 - 1)
    refused = [bool(sentinel(*pair)) for pair in seen]
    assert refused == [False, True, not skip, True]
    assert int(sentinel.count) == 2
    if skip:
        sentinel.check(1e-3)
    else:
        with pytest.raises(Diverged) as caught:
            sentinel.check(1e-3)
        assert caught.value.facts == {"step": 2**24 + 1, "loss": 0.5, "grad_norm": math.inf}


def test_gradients_are_clipped_as_in_torch_and_the_norm_before_is_logged(make_plan):
    """Against `clip_grad_norm_` in a plain loop; the last norms are below the bound."""
    bound = 1.0
    plan = make_plan(train__grad_clip=bound, train__lr=0.05)
    trainer = build_trainer(plan)
    model, _, _, norms = train_plainly(plan, 6, clip=bound)
    rows = [event for event in trainer.run() if isinstance(event, Logged)]
    assert [row.grad_norm for row in rows] == norms
    assert max(norms) > bound
    for ours, theirs in zip(trainer.parameters, model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_bound_that_is_never_reached_changes_nothing_and_none_is_the_default(make_plan):
    assert load("digits").train.grad_clip is None
    states = []
    for options in ({}, {"train__grad_clip": 1e9}, {"train__grad_clip": 1e-3}):
        trainer = build_trainer(make_plan(**options))
        list(trainer.run())
        states.append(list(trainer.model.state_dict().values()))
    plain, loose, tight = states
    assert all(torch.equal(one, two) for one, two in zip(plain, loose, strict=True))
    assert not all(torch.equal(one, two) for one, two in zip(plain, tight, strict=True))
