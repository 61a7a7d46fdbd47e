"""What differs on a GPU. Run with `pytest -m gpu`."""

from pathlib import Path

import pytest
import torch

from ditbench.config import load
from ditbench.models.blocks import block_names
from ditbench.training.calibrate import calibrate
from ditbench.training.parts import build_model, build_trainer
from ditbench.training.plan import plan
from ditbench.training.run import execute

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

OVERRIDES = {"budget.steps": 20, "eval.points": 2, "eval.samples": 40, "eval.sampling_steps": 3}


def _without_steps(values):
    """One budget only."""
    other = any(key.startswith("budget__") for key in values)
    return {key: value for key, value in OVERRIDES.items() if not (other and key == "budget.steps")}


def make_plan(out, device="cuda", **values):
    given = {key.replace("__", "."): value for key, value in values.items()}
    overrides = _without_steps(values) | given
    return plan(load("digits", overrides=overrides), Path(out), torch.device(device))


@pytest.mark.parametrize("block", block_names())
@pytest.mark.parametrize("objective", ["flow", "ddpm"])
def test_a_run_on_the_gpu(tmp_path, block, objective):
    run = make_plan(tmp_path, block=block, objective__name=objective)
    assert run.config.train.precision == "bf16"
    result = execute(run, lambda _event: None)
    assert result["final"]["fid_40"] > 0
    assert 0 < result["peak_memory_bytes"] < 2**30
    assert result["device"] == torch.cuda.get_device_name()


def test_the_gpu_computes_what_the_cpu_does(tmp_path):
    """One forward pass with equal weights, in float32."""
    plans = [
        make_plan(tmp_path, device=device, train__precision="fp32") for device in ("cpu", "cuda")
    ]
    outputs = []
    for run in plans:
        model = build_model(run.config, run.dataset, run.objective, run.device)
        torch.nn.init.ones_(model.final_layer.linear.weight)
        x = torch.linspace(-1, 1, 4 * 64).view(4, 1, 8, 8).to(run.device)
        t, y = torch.arange(4.0).to(run.device), torch.arange(4).to(run.device)
        with torch.no_grad():
            outputs.append(model(x, t, y).cpu())
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-4)


def test_all_blocks_see_equal_inputs_on_the_gpu(tmp_path):
    seen = []
    for block in block_names():
        run = make_plan(tmp_path, block=block)
        trainer = build_trainer(run)
        model, inputs = trainer.model, []
        model.register_forward_pre_hook(lambda _module, given, into=inputs: into.append(given))
        for _ in range(3):
            trainer.update()
        seen.append(inputs)
    for inputs in seen[1:]:
        for ours, theirs in zip(inputs, seen[0], strict=True):
            assert all(torch.equal(one, two) for one, two in zip(ours, theirs, strict=True))


def test_a_step_never_waits_for_the_gpu(tmp_path):
    run = make_plan(tmp_path)
    trainer = build_trainer(run)
    for _ in range(16):  # past the first epoch's permutation and every lazy initialisation
        trainer.update()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            trainer.update()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_budget_of_time_never_waits_for_the_whole_queue(tmp_path):
    """The host waits for the step before the last one: an event, no synchronisation."""
    run = make_plan(tmp_path, budget__seconds=60.0)
    trainer = build_trainer(run)
    trainer.stopwatch.start()
    for _ in range(16):
        trainer.update()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            trainer.update()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_budget_of_time_ends_in_time(tmp_path):
    result = execute(make_plan(tmp_path, budget__seconds=3.0), lambda _event: None)
    assert 3.0 <= result["train_seconds"] < 3.2
    assert result["steps"] > 100


def test_the_calibration_foretells_the_speed(tmp_path):
    run = make_plan(tmp_path, budget__seconds=3.0)
    steps = round(3.0 / calibrate(run).seconds_per_step)
    assert execute(run, lambda _event: None)["steps"] == pytest.approx(steps, rel=0.25)
