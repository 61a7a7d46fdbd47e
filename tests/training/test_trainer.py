"""The loop: what it computes, what it yields, and that it repeats itself bit for bit."""

import math

import pytest
import torch
from plain import train_plainly

from ditbench.models.registry import block_names
from ditbench.runs.planning.plan import build_trainer
from ditbench.training.checkpoint import resume, save_checkpoint
from ditbench.training.device import stopwatch as stopwatch_module
from ditbench.training.ema import Ema, warmed_up
from ditbench.training.nonfinite import Diverged
from ditbench.training.trainer import EvaluationDue, Logged


def record_inputs(trainer, steps=4):
    """What the model is given in training: x_t, t and y of the first steps."""
    seen = []

    def spy(_module, inputs):
        seen.append([value.clone() for value in inputs])

    handle = trainer.model.register_forward_pre_hook(spy)
    for _ in range(steps):
        trainer.update()
    handle.remove()
    return seen


@pytest.mark.parametrize("objective", ["flow", "ddpm"])
def test_all_blocks_see_the_same_batches_times_noise_and_dropout(make_plan, objective):
    expected = None
    for block in block_names():
        plan = make_plan(block=block, objective__name=objective)
        seen = record_inputs(build_trainer(plan))
        if expected is None:
            expected = seen
            labels = torch.cat([y for _, _, y in seen])
            assert (labels == 10).any()
            assert len({tuple(t.tolist()) for _, t, _ in seen}) == 4
        for step, (ours, theirs) in enumerate(zip(seen, expected, strict=True)):
            for one, two in zip(ours, theirs, strict=True):
                assert torch.equal(one, two), (block, step)


@pytest.mark.parametrize(
    ("block", "objective"),
    [*((block, "ddpm") for block in block_names("paper")), ("adaln-zero", "flow")],
)
def test_steps_are_repeated_and_resumed_bit_for_bit(make_plan, block, objective):
    plan = make_plan(block=block, objective__name=objective, budget__steps=2, eval__points=1)
    plan.directory.start(plan.config.to_toml(), {}, {})

    def weights():
        torch.manual_seed(torch.seed() % 2**32)  # whatever the global stream holds
        trainer = build_trainer(plan)
        resumed = resume(plan.directory, trainer, pytest.fail)
        for event in trainer.run():
            if isinstance(event, Logged) and event.step == 1:
                plan.directory.append_train(vars(event))
                save_checkpoint(plan.directory, trainer)
        return resumed, trainer.model.state_dict() | {
            f"ema.{name}": value for name, value in trainer.ema.model.state_dict().items()
        }

    (first, one), (second, two) = weights(), weights()
    assert (first, second) == (False, True)  # from the beginning, and from step 1
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_another_seed_is_another_run(make_plan):
    one, two = (record_inputs(build_trainer(make_plan(seed=seed)), 1)[0] for seed in (0, 1))
    assert not torch.equal(one[0], two[0])
    assert not torch.equal(one[1], two[1])


def test_the_loop_yields_rows_and_pauses_in_order(make_plan):
    events = list(build_trainer(make_plan()).run())
    assert [event.step for event in events if isinstance(event, Logged)] == [1, 2, 3, 4, 5, 6]
    assert [event.step for event in events if isinstance(event, EvaluationDue)] == [2, 4, 6]
    seconds = [event.seconds for event in events]
    assert seconds == sorted(seconds)
    assert all(event.images == 16 * event.step for event in events)


def test_the_clock_stops_while_the_caller_is_busy(make_plan, monkeypatch):
    now = 0.0

    def tick():
        nonlocal now
        now += 1.0
        return now

    monkeypatch.setattr(stopwatch_module.time, "perf_counter", tick)
    trainer = build_trainer(make_plan())
    seconds = []
    for event in trainer.run():
        now += 1000.0
        seconds.append(event.seconds)
    # Every step is logged here, so the clock is read twice a step: one second each, no more.
    assert seconds == [1.0, 2.0, 2.0, 3.0, 4.0, 4.0, 5.0, 6.0, 6.0]


def test_a_row_holds_the_mean_loss_and_the_gradient_s_norm(make_plan):
    """Against a plain loop written out again."""
    plan = make_plan(budget__steps=400, eval__points=1, train__warmup=0.5)
    rows = []
    for event in build_trainer(plan).run():
        rows.append(event)
        if event.step >= 4:
            break
    _, _, losses, norms = train_plainly(plan, 4)
    # 400 steps and 200 rows: one row every two steps.
    assert [row.step for row in rows] == [2, 4]
    assert rows[0].loss == pytest.approx(sum(losses[:2]) / 2, rel=1e-5)
    assert rows[1].loss == pytest.approx(sum(losses[2:]) / 2, rel=1e-5)
    assert rows[1].grad_norm == pytest.approx(norms[3], rel=1e-4)
    assert rows[1].lr == pytest.approx(1e-3 * 4 / 200)


@pytest.mark.parametrize("parts", [1, 5, 16, 100])
def test_the_model_receives_a_batch_in_parts(make_plan, parts):
    """The same numbers in the same order, no more than `micro_batch` images at a time."""
    whole = record_inputs(build_trainer(make_plan()), 2)
    seen = record_inputs(build_trainer(make_plan(train__micro_batch=parts)), 2)
    assert max(len(x) for x, _, _ in seen) == min(parts, 16)
    for ours, theirs in zip(zip(*seen, strict=True), zip(*whole, strict=True), strict=True):
        assert torch.equal(torch.cat(ours), torch.cat(theirs))


@pytest.mark.parametrize("block", block_names())
def test_recomputing_blocks_changes_no_bit(make_plan, block):
    """And nothing inside of a block is kept for the backward pass."""

    def train(**values):
        plan = make_plan(block=block, objective__name="ddpm", **values)
        trainer, kept = build_trainer(plan), {}

        def keep(tensor):
            kept[tensor.data_ptr()] = tensor.nbytes
            return tensor

        trainer.update()  # so that all gates are open
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            trainer.update()
        return trainer.model.state_dict(), sum(kept.values())

    plain, kept = train()
    recomputed, kept_again = train(train__checkpoint_blocks=True)
    assert all(torch.equal(plain[name], recomputed[name]) for name in plain)
    assert kept_again < kept / 2


def test_the_average_trails_the_weights_as_documented():
    model = torch.nn.Linear(3, 2)
    ema = Ema(model, decay=0.6)
    expected = model.weight.detach().clone()
    for n in range(12):
        with torch.no_grad():
            model.weight += 1
        ema.update(ema.share(n))
        decay = min(0.6, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * model.weight.detach()
        torch.testing.assert_close(ema.model.weight, expected)
    assert not ema.model.weight.requires_grad
    assert warmed_up(0.999, 0) == pytest.approx(0.1)
    assert warmed_up(0.999, 10**6) == 0.999


def test_divergence_ends_the_run_with_advice(make_plan):
    trainer = build_trainer(make_plan())
    with torch.no_grad():
        trainer.model.x_embedder.proj.weight.fill_(math.nan)
        trainer.model.final_layer.linear.weight.fill_(1.0)
    with pytest.raises(Diverged, match="diverged: at step 1 the loss is nan") as raised:
        list(trainer.run())
    assert raised.value.exit_code == 1
    assert "--lr" in raised.value.hint


@pytest.mark.parametrize("block", [*block_names("paper"), "joint", "u-vit", "ada-rms"])
def test_bf16_training_stays_near_float32(make_plan, block):
    losses = {}
    for precision in ("fp32", "bf16", "bf16-residual"):
        plan = make_plan(block=block, train__precision=precision, budget__steps=3)
        rows = [row for row in build_trainer(plan).run() if isinstance(row, Logged)]
        losses[precision] = [row.loss for row in rows]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16-residual"] == pytest.approx(losses["fp32"], rel=0.02)
    assert losses["bf16-residual"] != losses["bf16"]
