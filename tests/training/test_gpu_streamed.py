"""Images that do not stay on the GPU: pinned memory and a stream. Run with `pytest -m gpu`."""

import gc
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mapped import in_file
from waits import update_without_waiting

from ditbench.config import load
from ditbench.data.dataset import ImageDataset
from ditbench.runs.planning.plan import build_trainer, plan_all
from ditbench.runs.run import execute
from ditbench.training import batches as module
from ditbench.training.batches import Batches
from ditbench.training.sources import AHEAD, OnDevice, Streamed

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

OVERRIDES = {
    "budget.steps": 20,
    "eval.points": 2,
    "eval.samples": 40,
    "eval.sampling_steps": 3,
    "data.horizontal_flip": True,
}


def plan(out, **values):
    overrides = OVERRIDES | {key.replace("__", "."): value for key, value in values.items()}
    return plan_all([load("digits", overrides=overrides)], Path(out), torch.device("cuda"))[0]


def photographs(count=4096, side=64):
    draws = np.random.default_rng(0)
    images = torch.from_numpy(draws.integers(0, 256, (count, 3, side, side), dtype=np.uint8))
    return ImageDataset("photographs", images, torch.arange(count) % 10, tuple("0123456789"))


def batches(data, size, monkeypatch, *, streamed):
    monkeypatch.setattr(module, "SHARE", 0.0 if streamed else 1.0)
    found = Batches(data, size, 0, horizontal_flip=True, device=torch.device("cuda"))
    assert isinstance(found.source, Streamed if streamed else OnDevice)
    return found


def busy(milliseconds):
    """Keep the GPU busy: what is copied too early or read too late is then seen."""
    torch.cuda._sleep(int(milliseconds * 1.5e6))


@pytest.mark.parametrize("slow", ["nothing", "gpu", "host"])
@pytest.mark.parametrize("kind", ["memory", "file"])
def test_streamed_batches_are_those_on_the_gpu(tmp_path, monkeypatch, kind, slow):
    """Whichever of host and GPU waits for the other; over the ends of epochs."""
    data = photographs(1000)
    expected = batches(data, 128, monkeypatch, streamed=False)
    if kind == "file":
        data = in_file(data, tmp_path / "images.npy")
    found = batches(data, 128, monkeypatch, streamed=True)
    for first in (0, 300):  # as a resumed run begins
        pairs = []
        for step in range(first, first + 25):
            inputs = found.inputs(step)
            if slow == "gpu":
                busy(5)
            elif slow == "host":
                time.sleep(0.01)
            pairs.append((step, found.take(*inputs)))
        for step, (x, y) in pairs:
            wanted, labels = expected.batch(step)
            assert torch.equal(x, wanted), step
            assert torch.equal(y, labels), step


@pytest.mark.parametrize("block", ["adaln-zero", "in-context"])
def test_recorded_steps_take_streamed_batches(tmp_path, monkeypatch, block):
    """Every step's batch is the input of the graph: losses are those with images on the GPU."""
    run = plan(tmp_path, block=block, train__backend="plain", train__precision="fp32")
    resident = build_trainer(run)
    monkeypatch.setattr(module, "SHARE", 0.0)
    streamed = build_trainer(replace(run, dataset=in_file(run.dataset, tmp_path / "images.npy")))
    assert isinstance(streamed.batches.source, Streamed)
    for _ in range(40):  # more than two epochs
        resident.update()
        streamed.update()
        torch.testing.assert_close(streamed.loss_sum, resident.loss_sum, rtol=1e-4, atol=1e-6)
    assert streamed._on_device._graph is not None


def test_a_step_waits_for_no_more_than_the_copy_of_the_step_before(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHARE", 0.0)
    trainer = build_trainer(plan(tmp_path))
    update_without_waiting(trainer)


def test_the_host_is_ahead_of_the_gpu(monkeypatch):
    """Batches are copied while the GPU computes the steps before."""
    found = batches(photographs(), 256, monkeypatch, streamed=True)
    for step in range(AHEAD):
        found.take(*found.inputs(step))
    torch.cuda.synchronize()
    time.sleep(0.2)  # the reader fills its slots
    started = time.perf_counter()
    for step in range(AHEAD, 2 * AHEAD):
        inputs = found.inputs(step)
        busy(100)
        found.take(*inputs)
    launched = time.perf_counter() - started
    torch.cuda.synchronize()
    finished = time.perf_counter() - started
    assert launched < 0.5 * finished


def test_images_that_fit_stay_on_the_gpu(monkeypatch):
    data = photographs(64)
    free = 4 * data.images.nbytes
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)
    for room, expected in ((free, OnDevice), (free - 1, Streamed)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, room=room: (room, 2 * room))
        found = Batches(data, 8, 0, horizontal_flip=False, device=torch.device("cuda"))
        assert isinstance(found.source, expected)


def test_threads_and_memory_are_given_back(monkeypatch):
    data = photographs(512)
    gc.collect()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        found = batches(data, 128, monkeypatch, streamed=True)
        for step in range(9):
            found.batch(step)
        held = torch.cuda.memory_allocated() - before
        assert held < (AHEAD + 1) * 128 * data.images[0].nbytes + 2**20
        del found
    for _ in range(100):  # a thread may still hold memory
        if not [each for each in threading.enumerate() if each.name.startswith("read-ahead")]:
            break
        time.sleep(0.02)
    else:
        raise AssertionError("a thread is left")
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    assert torch.cuda.memory_allocated() - before < 2**20


def test_a_run_reads_its_images_from_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHARE", 0.0)
    run = plan(tmp_path)
    result = execute(replace(run, dataset=in_file(run.dataset, tmp_path / "images.npy")))
    assert result["final"]["fid_40"] > 0
