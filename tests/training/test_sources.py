"""Batches from a file, read ahead: those of images on the device."""

import gc
import os
import threading
import time
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mapped import in_file

from ditbench.data.dataset import ImageDataset
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.runs.planning.plan import build_trainer
from ditbench.runs.run import execute
from ditbench.training import batches as module
from ditbench.training.batches import Batches
from ditbench.training.checkpoint import resume, save_checkpoint
from ditbench.training.sources import AHEAD, OnDevice, Streamed
from ditbench.world import World

CPU = torch.device("cpu")
COUNT = 23


def dataset(count=COUNT):
    images = torch.arange(count * 12).to(torch.uint8).view(count, 3, 2, 2)
    return ImageDataset("test", images, torch.arange(count) % 3, ("a", "b", "c"))


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A data set in memory, and the same in a file."""
    return dataset(), in_file(dataset(), tmp_path_factory.mktemp("data") / "images.npy")


@pytest.fixture
def nothing_fits(monkeypatch):
    monkeypatch.setattr(module, "SHARE", 0.0)


def batches(data, size=6, seed=0, *, streamed=False, flip=True):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SHARE", 0.0 if streamed else 1.0)
        found = Batches(data, size, seed, horizontal_flip=flip, device=CPU)
    assert isinstance(found.source, Streamed if streamed else OnDevice)
    return found


def readers():
    return [each for each in threading.enumerate() if each.name.startswith("read-ahead")]


def wait_until(condition):
    for _ in range(200):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("nothing happened")


def assert_equal(one, two):
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@given(
    size=st.integers(1, COUNT),
    seed=st.integers(0, 3),
    flip=st.booleans(),
    steps=st.lists(st.integers(0, 30), min_size=1, max_size=4),
)
@settings(deadline=None, max_examples=30)
def test_both_sources_give_the_same_batches(both, size, seed, flip, steps):
    """Over ends of epochs, and from any step on, as when a run is resumed."""
    memory, file = both
    expected = batches(memory, size, seed, flip=flip)
    found = batches(file, size, seed, flip=flip, streamed=True)
    mapped = batches(file, size, seed, flip=flip)
    for first in steps:
        for step in range(first, first + 4):
            assert_equal(found.batch(step), expected.batch(step))
            assert_equal(mapped.batch(step), expected.batch(step))


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_parts_of_all_processes_are_the_batch(both, ranks, streamed):
    whole = batches(both[0], 7)
    own = [batches(both[1], 7, streamed=streamed) for _ in range(ranks)]
    for step in range(9):
        parts = [
            each.take(*each.inputs(step, World(rank, ranks).part(7)))
            for rank, each in enumerate(own)
        ]
        assert_equal([torch.cat(each) for each in zip(*parts, strict=True)], whole.batch(step))


def test_another_batch_size_on_the_way_is_followed(both):
    expected, found = batches(both[0]), batches(both[1], streamed=True)
    for step, size in enumerate((6, 6, 2, 2, 4, 6)):
        expected.batch_size = found.batch_size = size
        assert_equal(found.batch(step), expected.batch(step))


def test_the_source_depends_on_size_alone(both, monkeypatch):
    memory, file = both
    size = memory.images.nbytes
    for room, expected in ((4 * size, OnDevice), (4 * size - 1, Streamed)):
        monkeypatch.setattr(module, "machine_memory", lambda room=room: room)
        for data, kind in ((file, expected), (memory, OnDevice)):
            found = Batches(data, 6, 0, horizontal_flip=False, device=CPU)
            assert isinstance(found.source, kind)
    assert batches(file).source.images.data_ptr() == file.images.data_ptr()  # no copy


def test_batches_are_read_ahead_and_no_further(both, monkeypatch):
    data, read, reads = replace(both[1]), ImageDataset.read, []

    def noted(self, *given):
        reads.extend([1] * (self is data))  # threads of other tests may still read
        return read(self, *given)

    monkeypatch.setattr(ImageDataset, "read", noted)
    found = batches(data, streamed=True)
    assert not reads  # before a batch is asked for
    for step in range(3):
        found.batch(step)
        wait_until(lambda step=step: len(reads) == step + AHEAD)
        time.sleep(0.02)
        assert len(reads) == step + AHEAD


def test_the_thread_ends_with_its_batches(both):
    gc.collect()
    wait_until(lambda: not readers())
    found = batches(both[1], streamed=True)
    assert not readers()
    found.batch(0)
    assert len(readers()) == 1
    found.batch(5)  # another thread takes its place
    wait_until(lambda: len(readers()) == 1)
    del found
    wait_until(lambda: not readers())


def test_a_file_that_has_become_shorter_is_reported_where_the_batch_is_asked_for(tmp_path):
    path = tmp_path / "images.npy"
    found = batches(in_file(dataset(), path), streamed=True)
    found.batch(0)
    whole = path.read_bytes()
    os.truncate(path, 200)
    with pytest.raises(DitbenchError, match=r"images\.npy cannot be read: it has become") as raised:
        _ = [found.batch(step) for step in range(1, 10)]
    assert raised.value.exit_code == EXIT_FAILED
    with pytest.raises(DitbenchError, match="cannot be read"):  # not a wait for ever
        found.batch(9)
    path.write_bytes(whole)
    assert_equal(found.batch(9), batches(dataset()).batch(9))


def mapped_plan(make_plan, path, **values):
    plan = make_plan(data__horizontal_flip=True, **values)
    return replace(plan, dataset=in_file(plan.dataset, path))


def test_a_run_reads_its_images_from_a_file_and_is_the_same(make_plan, tmp_path, nothing_fits):
    expected = execute(make_plan(tmp_path / "one", data__horizontal_flip=True))
    plan = mapped_plan(make_plan, tmp_path / "images.npy", out=tmp_path / "two")
    found = execute(plan)
    for name, value in expected["final"].items():
        assert "seconds" in name or found["final"][name] == value, name
    assert found["fingerprint"] == expected["fingerprint"]


def test_a_resumed_trainer_goes_on_with_the_same_batches(make_plan, tmp_path, nothing_fits):
    plan = mapped_plan(make_plan, tmp_path / "images.npy")
    twin = build_trainer(make_plan(data__horizontal_flip=True))
    trainer = build_trainer(plan)
    for _ in range(3):
        trainer.update()
    assert isinstance(trainer.batches.source, Streamed)
    plan.directory.start("", {}, {})
    save_checkpoint(plan.directory, trainer)
    resumed = build_trainer(plan)
    assert resume(plan.directory, resumed, pytest.fail)
    for _ in range(3):
        resumed.update()
    for _ in range(6):
        twin.update()
    assert_equal(resumed.parameters, twin.parameters)


def test_a_run_whose_file_becomes_shorter_ends_with_one_message(
    make_plan, tmp_path, nothing_fits, monkeypatch
):
    path = tmp_path / "images.npy"
    plan = mapped_plan(make_plan, path)
    original = Batches.take

    def take(self, *inputs):
        os.truncate(path, 200)
        return original(self, *inputs)

    monkeypatch.setattr(Batches, "take", take)
    with pytest.raises(DitbenchError, match="has become shorter"):
        execute(plan)
    assert not plan.directory.is_complete()
    assert not plan.directory.lock.exists()
