"""Compiled training: the same numbers to rounding, one compilation for all seeds, clear failures.

Without `slow`, torch traces and differentiates as it does for real, but writes no C++.
"""

import gc
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from ditbench.training.compile_choice import Compiling
from torch._dynamo.utils import counters

from ditbench.errors import DitbenchError
from ditbench.models.registry import block_names
from ditbench.training import compiled
from ditbench.training.bench import Length, Row, bench
from ditbench.training.calibrate import forecast
from ditbench.training.contender import Ours
from ditbench.training.parts import build_trainer
from ditbench.training.run import execute

CPU = torch.device("cpu")
COMPILED = Compiling(on=True)

pytestmark = pytest.mark.usefixtures("without_cpp")


def ignore(_event):
    pass


def graphs():
    return counters["stats"]["unique_graphs"]


def trained(plan, steps=4):
    """Losses and final weights of a few steps, the first of which begins at random weights."""
    trainer = build_trainer(plan)
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in trainer.parameters:  # some are zero where training starts
            weight += 0.05 * torch.randn(weight.shape, generator=draws)
    losses, loss_at = [], trainer.loss_at

    def note(*arguments):
        losses.append(loss_at(*arguments))
        return losses[-1]

    trainer.loss_at = note
    for _ in range(steps):
        trainer.update()
    return torch.stack(losses).detach(), [weight.detach() for weight in trainer.parameters]


def assert_near(plan):
    """Compiled training is near training as it is."""
    losses, weights = trained(plan)
    near, near_weights = trained(replace(plan, compiling=COMPILED))
    torch.testing.assert_close(near, losses, rtol=1e-5, atol=1e-6)
    # AdamW divides by the gradient's size: where that is rounding, an update is anything.
    moved = torch.cat([(a - b).flatten() for a, b in zip(weights, near_weights, strict=True)])
    assert moved.abs().quantile(0.99) < 1e-5


LATER = [block for block in block_names() if block not in block_names("paper")]


@pytest.mark.parametrize(
    ("block", "objective"),
    [
        *((block, "ddpm") for block in block_names("paper")),
        ("adaln-zero", "flow"),
        *(pytest.param(block, "ddpm", marks=pytest.mark.slow) for block in LATER),
    ],
)
def test_compiled_training_is_near_training_as_it_is(make_plan, block, objective):
    assert_near(make_plan(block=block, objective__name=objective))
    assert graphs() == 1


@pytest.mark.slow
@pytest.mark.parametrize("block", block_names())
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_so_is_the_c_plus_plus(make_plan, monkeypatch, block, precision):
    monkeypatch.setattr(compiled, "BACKEND", "inductor")
    plan = make_plan(block=block, objective__name="ddpm", train__precision=precision)
    if precision == "fp32":
        assert_near(plan)
    else:  # rounded elsewhere: the compiler keeps float32 between operations
        near = trained(replace(plan, compiling=COMPILED))[0]
        torch.testing.assert_close(near, trained(plan)[0], rtol=0.02, atol=0.0)


def test_seeds_share_a_compilation_and_blocks_do_not(make_plan):
    found = []
    for block in ("adaln", "in-context"):
        for seed in range(3):
            plan = make_plan(block=block, seed=seed, objective__name="ddpm")
            trainer = build_trainer(replace(plan, compiling=COMPILED))
            for _ in range(2):
                trainer.update()
            found.append(graphs())
            del trainer, plan
            gc.collect()  # what was compiled does not hang on the first model
    assert found == [1, 1, 1, 2, 2, 2]


def test_many_kinds_are_compiled_in_one_process():
    """torch's own limit is 8, and it fails there."""
    increment = compiled._compile(compiled._increment, "eager")
    for size in range(2, 14):
        assert increment(torch.zeros(size)).sum() == size
    assert graphs() == 12


@pytest.mark.slow
def test_a_machine_without_a_compiler_is_found_out(tmp_path):
    code = (
        "import torch; from ditbench.training.compiled import obstacle_to_compiling as obstacle; "
        "print(obstacle(torch.device('cpu')))"
    )
    own = {"CXX": "/nowhere/g++", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    told = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | own, capture_output=True, text=True
    )
    assert told.stdout.startswith("InvalidCxxCompiler: No working C++ compiler")
    assert told.stdout.count("\n") == 1
    assert told.stderr == ""


# What a failure says


def failing(_graph, _inputs):
    raise RuntimeError("no room for C++\nand much more")


def test_a_failed_compilation_is_one_line_and_nothing_is_written(make_plan, monkeypatch, tmp_path):
    monkeypatch.setattr(compiled, "BACKEND", failing)
    run = replace(make_plan(), compiling=COMPILED)
    for fails in (lambda: execute(run, ignore), lambda: list(forecast([run], ignore))):
        with pytest.raises(DitbenchError, match=r"cannot compile .*: no room for C") as raised:
            fails()
        assert raised.value.exit_code == 1
        assert "\n" not in raised.value.message
        assert "--compile off" in raised.value.hint
    assert not run.directory.config.exists()
    assert "no room" in compiled.obstacle_to_compiling(CPU)


def test_what_a_killed_compilation_left_is_named(make_plan, monkeypatch):
    def load(_graph, _inputs):
        raise ImportError("/tmp/a cache/x5/cx5x.main.so: file too short")

    monkeypatch.setattr(compiled, "BACKEND", load)
    with pytest.raises(DitbenchError, match=r"earlier: /tmp/a cache/x5/cx5x\.main\.so") as raised:
        execute(replace(make_plan(), compiling=COMPILED), ignore)
    assert raised.value.exit_code == 1
    assert "(/tmp/a cache)" in raised.value.hint


@pytest.mark.slow
def test_a_cache_of_empty_files_is_told_so(tmp_path):
    """The real loader's words, after the real compiler."""
    run = [
        *(sys.executable, "-m", "ditbench", "run", "--block", "adaln", "--model", "8x1x1/4"),
        *("--steps", "2", "--compile", "on", "--set", "eval.samples=10", "--set", "eval.points=1"),
    ]
    own = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}

    def told(out):
        command = [*run, "--out", str(tmp_path / out)]
        return subprocess.run(command, env=own, capture_output=True, text=True)

    assert told("first").returncode == 0
    libraries = list((tmp_path / "cache").rglob("*.main.so"))
    assert libraries
    for library in libraries:
        library.write_bytes(b"")
    again = told("second")
    assert again.returncode == 1
    assert "error: torch cannot load what it compiled earlier" in again.stderr
    assert f"({tmp_path / 'cache'})" in again.stderr
    shutil.rmtree(tmp_path / "cache")
    assert told("second").returncode == 0


def test_compiling_is_not_in_the_seconds(make_plan, monkeypatch):
    """A rehearsal compiles; the trainer that counts finds it done."""
    rehearsed = []
    monkeypatch.setattr(
        "ditbench.training.run.rehearse", lambda _run, updates: rehearsed.append(updates)
    )
    execute(make_plan(), ignore)
    execute(make_plan("on", seed=1), ignore)
    assert rehearsed == [0, 1]


# What is told


def test_a_dry_run_says_what_is_compiled(make_plan, monkeypatch):
    monkeypatch.setattr("ditbench.training.calibrate.SECONDS", 0.02)
    plans = [make_plan(choice, seed=seed) for seed, choice in enumerate(("on", "off"))]
    assert [row["compiled"] for row in forecast(plans[:1], ignore)] == [True]
    assert [row["compiled"] for row in forecast(plans[1:], ignore)] == [False]


def test_a_benchmark_says_what_is_compiled(make_plan):
    plans = [make_plan("on"), make_plan("off")]
    rows = [Row("adaln", plan, Ours()) for plan in plans]
    told = list(bench(rows, Length(seconds=0.01, steps=10), ignore))
    assert [row["compiled"] for row in told] == [True, False]
