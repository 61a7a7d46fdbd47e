"""Compiled training: equal to plain training up to rounding, shared by seeds, with clear errors.

Without `slow`, torch traces and differentiates as usual, but generates no C++.
"""

import os
import subprocess
import sys
from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch
from torch._dynamo.utils import counters

from ditbench.errors import DitbenchError
from ditbench.models.registry import block_names
from ditbench.runs.planning.calibrate import forecast
from ditbench.runs.planning.plan import build_trainer
from ditbench.runs.run import execute
from ditbench.training.device import compile as compiler
from ditbench.training.device.backend import Backend

CPU = torch.device("cpu")
COMPILED = Backend("compile")
LATER = [block for block in block_names() if block not in block_names("paper")]


def graphs():
    return counters["stats"]["unique_graphs"]


def trained(plan, steps=4):
    """Losses and final weights of a few steps that begin at random weights."""
    trainer = build_trainer(plan)
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in trainer.parameters:  # some are zero at the start of training
            weight += 0.05 * torch.randn(weight.shape, generator=draws)
    losses = []
    for _ in range(steps):
        trainer.loss_sum.zero_()
        trainer.update()
        losses.append(trainer.loss_sum.clone())
    return torch.stack(losses), [weight.detach() for weight in trainer.parameters]


def assert_near(make_plan, **values):
    """Compiled training is near plain training."""
    losses, weights = trained(make_plan(**values))
    near, near_weights = trained(replace(make_plan(**values), backend=COMPILED))
    torch.testing.assert_close(near, losses, rtol=1e-5, atol=1e-6)
    # AdamW divides by the size of the gradient: if that is rounding, the update is arbitrary.
    moved = torch.cat([(a - b).flatten() for a, b in zip(weights, near_weights, strict=True)])
    assert moved.abs().quantile(0.99) < 1e-5


@pytest.mark.usefixtures("without_cpp")
@pytest.mark.parametrize(
    ("block", "objective"),
    [
        *((block, "ddpm") for block in block_names("paper")),
        ("adaln-zero", "flow"),
        *(pytest.param(block, "ddpm", marks=pytest.mark.slow) for block in LATER),
    ],
)
def test_compiled_training_is_near_plain_training(make_plan, block, objective):
    assert_near(make_plan, block=block, objective__name=objective)
    assert graphs() > 0


@pytest.mark.usefixtures("without_cpp")
def test_compiled_blocks_may_be_recomputed_and_batches_divided(make_plan):
    assert_near(make_plan, train__checkpoint_blocks=True, train__micro_batch=8)
    assert graphs() > 0


@pytest.mark.slow
@pytest.mark.parametrize("block", block_names())
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_so_is_training_in_c_plus_plus(make_plan, compile_with, block, precision):
    compile_with("inductor")
    values = {"block": block, "objective__name": "ddpm", "train__precision": precision}
    if precision == "fp32":
        assert_near(make_plan, **values)
    else:  # rounded elsewhere: the compiler keeps float32 between operations
        near = trained(replace(make_plan(**values), backend=COMPILED))[0]
        torch.testing.assert_close(near, trained(make_plan(**values))[0], rtol=0.02, atol=0.0)


@pytest.mark.usefixtures("without_cpp")
def test_seeds_share_a_compilation_and_blocks_do_not(make_plan):
    found = []
    for block in ("adaln", "in-context"):
        for seed in range(3):
            plan = make_plan(block=block, seed=seed, objective__name="ddpm")
            trainer = build_trainer(replace(plan, backend=COMPILED))
            for _ in range(2):
                trainer.update()
            found.append(graphs())
    assert found[0] == found[1] == found[2] < found[3] == found[4] == found[5]


@pytest.mark.slow
def test_a_machine_without_a_compiler_is_detected(tmp_path):
    code = (
        "import torch; from ditbench.training.device.compile import unavailable_reason; "
        "print(unavailable_reason(torch.device('cpu')))"
    )
    own = {"CXX": "/nowhere/g++", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | own, capture_output=True, text=True
    )
    assert result.stdout.startswith("InvalidCxxCompiler: No working C++ compiler")
    assert result.stdout.count("\n") == 1
    assert result.stderr == ""


# Errors


def test_a_failed_compilation_is_one_line_and_nothing_is_written(make_plan, compile_with):
    compile_with(Mock(side_effect=RuntimeError("no room for C++\nand much more")))
    run = replace(make_plan(), backend=COMPILED)
    for fails in (lambda: execute(run), lambda: list(forecast([run], lambda _text: None))):
        with pytest.raises(DitbenchError, match=r"does not work here: .*no room for C") as raised:
            fails()
        assert raised.value.exit_code == 1
        assert "\n" not in raised.value.message
        assert "--backend" in raised.value.hint
    assert not run.directory.config.exists()
    assert "no room" in compiler.unavailable_reason(CPU)


def test_what_a_killed_compilation_left_is_named(make_plan, compile_with):
    compile_with(Mock(side_effect=ImportError("/tmp/a cache/x5/cx5x.main.so: file too short")))
    with pytest.raises(DitbenchError, match=r"earlier: /tmp/a cache/x5/cx5x\.main\.so") as raised:
        execute(replace(make_plan(), backend=COMPILED))
    assert raised.value.exit_code == 1
    assert "(/tmp/a cache)" in raised.value.hint


@pytest.mark.slow
def test_damaged_files_of_a_cache_are_made_again(tmp_path):
    """With the real compiler and loader: libraries and modules, empty or half of what they were."""
    run = [
        *(sys.executable, "-m", "ditbench", "run", "--block", "adaln", "--model", "8x1x1/4"),
        *("--steps", "2", "--backend", "compile", "--set", "eval.samples=10"),
        *("--set", "eval.points=1"),
    ]
    own = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}

    def result(out):
        command = [*run, "--out", str(tmp_path / out)]
        return subprocess.run(command, env=own, capture_output=True, text=True)

    assert result("first").returncode == 0
    for pattern, part in (("*.main.so", 0), ("*.main.so", 2), ("c*.py", 0), ("c*.py", 2)):
        files = list((tmp_path / "cache").rglob(pattern))
        assert files
        for file in files:
            file.write_bytes(file.read_bytes()[: file.stat().st_size // part if part else 0])
        again = result(f"{pattern[-2:]}{part}")
        assert again.returncode == 0, again.stderr
