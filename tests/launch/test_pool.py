"""Several runs at a time: equal to one after the other, whatever happens to one of them."""

import json
import multiprocessing
import os
import shutil
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from clocks import timeless
from command_line import TINY
from contents import contents, runs
from PIL import Image
from recorder import Recorder

from ditbench.cli.execution import forecast
from ditbench.errors import DitbenchError
from ditbench.launch.devices import Workers, choose_workers
from ditbench.launch.pool import _Worker, execute_at_once, work_of
from ditbench.launch.worker import Resources
from ditbench.models.cost import count
from ditbench.runs.planning import calibrate
from ditbench.training.checkpoint import read_checkpoint
from ditbench.training.stop import Stopped, StopRequest

CPU = torch.device("cpu")
ENVIRONMENT = {"OMP_NUM_THREADS": "1"}


@pytest.fixture
def gpus(monkeypatch):
    """Pretend that there are so many GPUs, by the given names."""

    def have(count, names=None):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if names is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", names)

    return have


def visible(*arguments):
    return [each["CUDA_VISIBLE_DEVICES"] for each in choose_workers(*arguments).environments]


@pytest.mark.parametrize(
    ("count", "names", "workers", "device", "per_run", "expected"),
    [
        (3, None, None, "cuda", 1, ["0", "1", "2"]),
        (3, "4, 5,7", None, "cuda", 1, ["4", "5", "7"]),
        (2, "GPU-8932f937,GPU-d23cf12c", None, "cuda", 1, ["GPU-8932f937", "GPU-d23cf12c"]),
        (2, "6,3,-1,4", None, "cuda", 1, ["6", "3"]),  # CUDA ignores what follows -1
        (4, None, 2, "cuda", 1, ["0", "1"]),
        (5, "1,2,3,4,5", None, "cuda", 2, ["1,2", "3,4"]),
        (4, "4,5,6,7", None, "cuda:2", 1, ["6"]),
    ],
)
def test_each_worker_has_gpus_of_its_own(gpus, count, names, workers, device, per_run, expected):
    gpus(count, names)
    assert visible(workers, 10, torch.device(device), per_run) == expected


def test_more_workers_than_gpus_are_refused(gpus):
    gpus(2)
    with pytest.raises(DitbenchError, match="--workers 3 needs 3 GPUs, and there are 2") as raised:
        choose_workers(3, 12, torch.device("cuda"))
    assert raised.value.hint.startswith("pass --workers 2")


def test_workers_divide_the_threads_unless_the_user_has_set_them(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert choose_workers(None, 12, CPU).environments == [{"OMP_NUM_THREADS": "8"}]
    assert choose_workers(3, 12, CPU).environments == [{"OMP_NUM_THREADS": "2"}] * 3
    assert choose_workers(9, 12, CPU).environments == [{"OMP_NUM_THREADS": "1"}] * 9
    assert choose_workers(3, 2, CPU).environments == [{"OMP_NUM_THREADS": "4"}] * 2  # two runs
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert choose_workers(3, 12, CPU).environments == [{"OMP_NUM_THREADS": "5"}] * 3


def test_the_work_of_a_run_grows_with_steps_evaluations_and_the_cost_of_its_block(make_plan):
    plan = make_plan()
    training = plan.train_flops(6)
    # A forward pass is a third of the arithmetic of a step; 3 evaluations of 40 samples.
    evaluations = 3 * 40 * 2 * plan.cost.train_flops_per_image / 3
    assert work_of(plan) == pytest.approx(training + evaluations)
    assert work_of(make_plan(block="cross-attention")) > work_of(plan)
    assert work_of(make_plan(budget__seconds=5.0)) == pytest.approx(evaluations)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--workers", "0"), "--workers '0' is not a whole number above 0"),
        (("--workers", "2", "--launcher", "slurm"), "--workers and --launcher slurm are given"),
    ],
)
def test_wrong_numbers_of_workers_are_usage_errors(cli, tmp_path, options, message):
    result = cli("run", "--block", "adaln", *TINY, "--out", tmp_path / "results", *options)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {message}")


def test_a_forecast_gives_the_time_of_all_workers(cli, tmp_path, monkeypatch):
    rows = [{"complete": False, "expected_total_seconds": each} for each in (60, 240, 120, 180)]
    one, two, four = (Workers([ENVIRONMENT] * number) for number in (1, 2, 4))
    assert forecast._total(rows, one).startswith("About 10m for 4 runs, by")
    # The longest first: 240 + 60 and 180 + 120 seconds.
    assert forecast._total(rows, two).startswith("About 5m for 4 runs, 2 at a time, by")
    rows.append({"complete": True, "expected_total_seconds": None})
    assert forecast._total(rows, four).startswith("About 4m for 4 runs, 4 at a time; 1 complete")
    # Calibration has the threads of a worker.
    monkeypatch.delenv("OMP_NUM_THREADS")
    threads = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(calibrate, "SECONDS", 0.02)
    monkeypatch.setattr("ditbench.runs.planning.plan.count", count)  # even if it was counted before
    sweep = ("run", "--block", "none", "--seeds", "2", *TINY, "--steps", 4, "--out", tmp_path)
    result = cli(*sweep, "--workers", 3, "--dry-run")
    assert "for 2 runs, 2 at a time" in result.stdout
    assert threads[:2] == [1, 6]  # costs are counted by one
    assert threads[2:4] == [3, 3]  # the calibration's, before its steps divide them


def test_a_worker_is_spawned_with_its_gpus_and_without_ctrl_c(monkeypatch):
    def inherited():
        return os.environ["CUDA_VISIBLE_DEVICES"], signal.pthread_sigmask(signal.SIG_BLOCK, ())

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4")
    before, seen = inherited(), []
    process = SimpleNamespace(start=lambda: seen.append(inherited()))
    context = SimpleNamespace(Pipe=multiprocessing.Pipe, Process=lambda **_: process)
    monkeypatch.setattr(multiprocessing, "get_context", {"spawn": context}.get)
    _Worker({"CUDA_VISIBLE_DEVICES": "4"}, Resources("cuda", 1, None))
    assert seen == [("4", before[1] | {signal.SIGINT})]
    assert inherited() == before


def compare_with_serial(succeed, tmp_path, *sweep):
    sweep = ("run", *sweep, "--out")
    at_once = succeed(*sweep, tmp_path / "pool", "--workers", 2, "--json")
    serial = succeed(*sweep, tmp_path / "serial", "--json")
    expected = {name: contents(run) for name, run in runs(tmp_path / "serial").items()}
    for files in expected.values():
        files["env.json"]["shared_cpu_workers"] = 2
    assert {name: contents(run) for name, run in runs(tmp_path / "pool").items()} == expected
    return at_once, serial


def test_runs_of_two_workers_equal_those_of_one(succeed, tmp_path, preloaded):
    sweep = ("--block", "adaln,none", "--seeds", "2", *TINY, "--steps", 20)
    at_once, serial = compare_with_serial(succeed, tmp_path, *sweep)
    lines = at_once.stderr.splitlines()
    assert lines[0] == "4 runs: 0 complete (skipped), 4 to go, 2 at a time"
    for label in ("adaln seed 0", "adaln seed 1", "none seed 0", "none seed 1"):
        of_run = [line for line in lines if f"] {label}  " in line]
        assert sum("step 20/20  FID-40" in line for line in of_run) == 1
    # The longest first; both lists are in the order of the command.
    assert lines[1].split("] ")[1].startswith("adaln seed ")
    places = [
        [(row["block"], row["seed"]) for row in json.loads(result.stdout)]
        for result in (at_once, serial)
    ]
    assert places[0] == places[1]


def test_workers_need_no_pictures(cli, tmp_path, preloaded, monkeypatch):
    """They have the pixels that the command has decoded, held-out ones, too."""
    for number in range(60):
        split = "train" if number < 40 else "val"
        path = tmp_path / "figures" / split / str(number % 10) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 4 * number, np.uint8)).save(path)
    sweep = ("run", "--data", tmp_path / "figures", "--preset", "digits", "--block", "adaln,none",
             *TINY, "--steps", 5, "--out")  # fmt: skip
    assert cli(*sweep, tmp_path / "serial").exit_code == 0

    def start(*arguments):
        shutil.rmtree(tmp_path / "figures", ignore_errors=True)
        return _Worker(*arguments)

    monkeypatch.setattr("ditbench.launch.pool._Worker", start)
    result = cli(*sweep, tmp_path / "pool", "--workers", 2)
    assert result.exit_code == 0, result.stderr
    serial, pool = (
        [timeless(path / "eval.csv") for path in runs(tmp_path / name).values()]
        for name in ("serial", "pool")
    )
    assert len(serial) == 2
    assert serial == pool


@pytest.mark.slow
def test_a_sweep_of_rates_by_two_workers_chooses_as_one_does(cli, tmp_path):
    sweep = ("tune", "--block", "adaln,none", "--lr", "1e-3,1e9", *TINY, "--steps", 40, "--json")
    found = [cli(*sweep, "--out", tmp_path / name, "--workers", name) for name in ("1", "2")]
    assert [each.exit_code for each in found] == [0, 0], found[1].stderr
    assert found[0].stdout == found[1].stdout
    for label in ("adaln lr 1e+09 seed 1000", "none lr 1e+09 seed 1000"):
        assert f"failed: {label}: diverged" in found[1].stderr


@pytest.mark.slow
def test_runs_at_a_time_by_several_processes_each_equal_those_of_one(succeed, tmp_path):
    sweep = ("run", "--block", "adaln,none", *TINY, "--steps", 20, "--out")
    succeed(*sweep, tmp_path / "serial")
    succeed(*sweep, tmp_path / "pool", "--workers", 2, "--gpus", 2)
    for name, run in runs(tmp_path / "serial").items():
        alone, together = (contents(run), contents(tmp_path / "pool" / name))
        assert together["env.json"]["world_size"] == 2
        losses = [[float(row["loss"]) for row in each["train.csv"]] for each in (alone, together)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)
        fids = [float(each["eval.csv"][-1]["fid_40"]) for each in (alone, together)]
        assert fids[0] == pytest.approx(fids[1], rel=1e-3)


OWN = """import multiprocessing
import os
import signal

import torch

from ditbench.models.blocks.adaln import AdaLNBlock


class Mine(AdaLNBlock):
    def forward(self, x, c):
        if multiprocessing.parent_process() is not None and torch.is_grad_enabled():
            print("it is called")
            {what}
        return super().forward(x, c)
"""


@pytest.fixture
def block(tmp_path):
    """Write a block whose training fails in a worker; returns its location."""

    def write(name, what):
        path = tmp_path / f"{name.lower()}.py"
        path.write_text(OWN.replace("Mine", name).replace("{what}", what))
        return f"{path}:{name}"

    return write


def test_a_run_that_fails_or_is_killed_stops_no_other(cli, block, tmp_path, preloaded):
    dies = block("Dies", "os.kill(os.getpid(), signal.SIGKILL)")
    fails = block("Fails", "raise RuntimeError('no such luck')")
    out = ("--steps", 4, "--out", tmp_path / "results")
    blocks = f"{dies},{fails},none,adaln"
    result = cli("run", "--block", blocks, *TINY, *out, "--workers", 2)
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert lines.count("failed: Dies seed 0: its process was ended by SIGKILL") == 2
    (_, failed) = [line for line in lines if line.startswith("failed: Fails seed 0: ")]
    assert "RuntimeError: no such luck" in failed
    assert lines[-2] == "error: 2 of 4 runs failed"
    assert any(line.startswith("  File ") and "fails.py" in line for line in lines)
    assert "it is called" in result.stdout
    done = [line.split(",")[0] for line in result.stdout.splitlines() if ", seed 0: FID" in line]
    assert sorted(done) == ["adaln", "none"]


def test_a_stop_saves_all_runs_and_begins_no_other(make_plan, tmp_path, preloaded):
    plans = [make_plan(seed=seed, budget__steps=20_000) for seed in range(3)]
    stop, logged = StopRequest(), set()

    class Shown(Recorder):
        def of(self, plan):
            return Recorder(lambda event: self.note(event, plan))

        def note(self, event, plan):
            if event.kind == "logged":
                logged.add(plan.config.seed)
            if len(logged) == 2:
                stop.number = signal.SIGINT

    with pytest.raises(Stopped) as stopped:
        list(execute_at_once(plans, Shown(), stop, Workers([ENVIRONMENT] * 2)))
    assert stopped.value.number == signal.SIGINT
    for plan in plans:
        started = plan.config.seed in logged
        assert bool(plan.directory.checkpoints) == started
        assert not plan.directory.lock.exists()
        if started:
            assert read_checkpoint(plan.directory.checkpoint)[1]["step"] >= 100
