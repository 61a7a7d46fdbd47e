"""Time and memory of a GPU: what waits, and what fits. Run with `pytest -m gpu`."""

import signal
import time

import pytest
import torch
from on_gpu import ON_A_GPU, make_plan
from waits import update_without_waiting

from ditbench.errors import DitbenchError
from ditbench.runs.machine.memory import PeakMemory
from ditbench.runs.planning.calibrate import calibrate
from ditbench.runs.planning.memory import count_memory
from ditbench.runs.planning.plan import build_model, build_trainer
from ditbench.runs.run import execute
from ditbench.runs.scoring.sampling import sample_images
from ditbench.training.device import backlog
from ditbench.training.stop import Stopped, StopRequest

pytestmark = ON_A_GPU


def test_a_block_that_waits_for_the_gpu_is_reported_with_its_line(tmp_path):
    path = tmp_path / "waits.py"
    path.write_text(WAITS)
    run = make_plan(tmp_path / "runs", block=f"{path}:Waits")
    with pytest.raises(DitbenchError, match=r"waits\.py:9: .*nothing may wait") as caught:
        execute(run)
    assert caught.value.exit_code == 1
    execute(make_plan(tmp_path / "runs"))  # the device is as it was


WAITS = """
from ditbench.models.blocks.plain import PlainBlock

class Waits(PlainBlock):
    reads_timestep = False
    reads_class = False

    def forward(self, x, given):
        self.size = self.attn.qkv.weight.abs().sum().item()
        return super().forward(x, given)
"""


def test_runs_of_one_process_leave_no_memory_to_each_other(tmp_path):
    peaks = []
    for seed in range(3):
        run = make_plan(tmp_path, seed=seed, objective__name="ddpm")
        peaks.append(execute(run)["peak_memory_bytes"])
    # The first one's holds what libraries allocate once, if anything does.
    assert peaks[1] == peaks[2] <= peaks[0]


def launched_and_waited(run, steps):
    """Seconds to launch steps, and then until the device has finished them."""
    trainer = build_trainer(run)
    given = trainer.batches.inputs(0)
    trainer.batches.inputs = lambda *_: given  # a new epoch would wait for the device
    for _ in range(16):
        trainer.update()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(steps):
        trainer.update()
    launched = time.perf_counter()
    torch.cuda.synchronize()
    return launched - started, time.perf_counter() - launched


def test_the_queue_of_steps_is_short_and_costs_no_time(tmp_path, monkeypatch):
    """A stop finds at most half a second of work; the steps are as fast as without a bound."""
    # Each step keeps the device busy for longer than the host takes to launch it.
    size = {"model__hidden_size": 768, "model__depth": 12, "model__num_heads": 12}
    run = make_plan(tmp_path, train__batch_size=512, model__patch_size=1, **size)
    bounded = launched_and_waited(run, 100)
    assert bounded[1] < 2 * backlog.SECONDS
    monkeypatch.setattr(backlog.Backlog, "launched", lambda self: None)
    unbounded = launched_and_waited(run, 100)
    assert unbounded[1] > 2 * backlog.SECONDS  # otherwise this test shows nothing
    assert sum(bounded) < 1.03 * sum(unbounded)


def test_a_stop_in_sampling_does_not_wait_for_the_batch(tmp_path):
    size = {"model__hidden_size": 768, "model__depth": 12, "model__num_heads": 12}
    run = make_plan(tmp_path, eval__sampling_steps=2_000, eval__batch_size=500, **size)
    model, stop = build_model(run).eval(), StopRequest()
    asked = []

    def show(_activity, done, _parts):
        if done == 400:
            stop.number = signal.SIGINT
            asked.append(time.perf_counter())

    stop.show = show
    with pytest.raises(Stopped):
        sample_images(model, run, torch.arange(500) % 10, stop)
    torch.cuda.synchronize()
    assert time.perf_counter() - asked[0] < 2


def test_a_budget_of_time_ends_in_time(tmp_path):
    result = execute(make_plan(tmp_path, budget__seconds=3.0))
    assert 3.0 <= result["train_seconds"] < 3.2
    assert result["steps"] > 100


def test_the_calibration_predicts_the_speed(tmp_path):
    run = make_plan(tmp_path, budget__seconds=3.0)
    steps = round(3.0 / calibrate(run, per_score=0.0).per_step)
    assert execute(run)["steps"] == pytest.approx(steps, rel=0.25)


@pytest.fixture
def little_memory():
    """A quarter of a gibibyte of the device is all that this process may take."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(2**28 / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_running_out_of_memory_names_what_to_lower(tmp_path, little_memory, precision):
    size = {"train__batch_size": 1024, "model__hidden_size": 512, "model__depth": 12}
    run = make_plan(tmp_path, train__precision=precision, **size)
    with pytest.raises(DitbenchError, match=r"cuda.* ran out of memory") as raised:
        execute(run)
    assert raised.value.exit_code == 1
    for words in ("batch size 1024 in training", precision):
        assert words in raised.value.message
    assert "--batch-size 512" in raised.value.hint
    assert not run.directory.is_complete()
    assert not run.directory.lock.exists()


@pytest.mark.parametrize("backend", ["plain", "compile", "kernels"])
@pytest.mark.parametrize(
    ("micro_batch", "checkpoint_blocks"), [(None, False), (64, False), (None, True), (64, True)]
)
def test_memory_is_what_was_estimated(tmp_path, backend, micro_batch, checkpoint_blocks):
    values = {"micro_batch": micro_batch, "checkpoint_blocks": checkpoint_blocks}
    size = {"hidden_size": 512, "num_heads": 8, "depth": 12, "patch_size": 1}
    values |= {"backend": backend, "batch_size": 256}
    given = {f"model__{key}": value for key, value in size.items()}
    given |= {f"train__{key}": value for key, value in values.items()}
    run = make_plan(tmp_path, objective__name="ddpm", **given)
    memory = PeakMemory(run.device)
    memory.start()
    trainer = build_trainer(run)
    for _ in range(6):
        trainer.update()
    memory.stop()
    images = micro_batch or 256
    estimate = count_memory(run).training(images, 256 // images, again=checkpoint_blocks)
    assert memory.bytes == pytest.approx(estimate + run.dataset.images.nbytes, rel=0.2)


def test_a_budget_of_time_never_waits_for_the_whole_queue(tmp_path):
    """The host waits for the step before the last one: an event, no synchronisation."""
    run = make_plan(tmp_path, budget__seconds=60.0)
    trainer = build_trainer(run)
    trainer.stopwatch.start()
    update_without_waiting(trainer)


# The sentinel is on in every run; what else a step may do must not wait either.
STEPS = [
    {},
    {"train__grad_clip": 1.0},
    {"train__on_nonfinite": "skip"},
    {"train__grad_clip": 1.0, "train__on_nonfinite": "skip", "objective__name": "ddpm"},
]


@pytest.mark.parametrize("options", STEPS, ids=str)
def test_a_step_never_waits_for_the_gpu(tmp_path, options):
    run = make_plan(tmp_path, **options)
    trainer = build_trainer(run)
    update_without_waiting(trainer)
