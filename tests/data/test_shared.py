"""Data sets in new processes: the same, in one copy."""

import os
from functools import partial

import numpy as np
import pytest
import torch
from mapped import in_file
from worlds import forking

from ditbench.data.dataset import ImageDataset
from ditbench.data.latents.rows import MemoryRows
from ditbench.data.latents.space import LatentSpace
from ditbench.data.pictures.settings import Settings
from ditbench.data.shared import SharedDataset
from ditbench.errors import EXIT_FAILED, DitbenchError


def pixels(count=30, **more):
    draws = np.random.default_rng(0)
    images = torch.from_numpy(draws.integers(0, 256, (count, 3, 64, 64), dtype=np.uint8))
    labels = torch.arange(count) % 2
    return ImageDataset("test", images, labels, ("a", "b"), notes=("a note",), **more)


def latents():
    draws = torch.Generator().manual_seed(0)
    rows = MemoryRows(torch.randn(60, 4, 64, 64, generator=draws).bfloat16())
    space = LatentSpace.of_settings(
        Settings(image_size=512, scaling_factor=0.2), (4, 64, 64), "x", kind="sample"
    )
    return ImageDataset(
        "latents",
        torch.empty(30, 4, 64, 64, dtype=torch.bfloat16, device="meta"),
        torch.zeros(30, dtype=torch.int64),
        ("a",),
        file=rows,
        latents=space,
        flipped=True,
        known_digest="0" * 64,
    )


KINDS = [pixels, latents, partial(pixels, load_held_out=partial(pixels, 7))]


def facts(given):
    """All that is known of a data set, and of its held-out images."""
    found = []
    for each in (given, given.held_out):
        if each is not None:
            index = torch.arange(len(each) * (1 + each.flipped))
            rows = torch.empty(len(index), *each.images.shape[1:], dtype=each.images.dtype)
            each.read(index, rows)
            about = (each.name, each.class_names, each.notes, each.latents, each.digest)
            found.append((about, each.labels.tolist(), rows.view(torch.uint8).numpy().tobytes()))
    return found


def answer(queue, shared):
    queue.put(facts(shared.dataset))


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_receives_the_same_data(kind):
    context = forking()
    queue, shared = context.Queue(), SharedDataset.of(kind())
    process = context.Process(target=answer, args=(queue, shared))
    process.start()
    assert queue.get(timeout=60) == facts(kind())
    process.join()


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_and_latents_are_not_sent(kind):
    shared = SharedDataset.of(kind())
    assert len(shared._content) < 5_000
    first, second = shared.dataset, SharedDataset(shared._content, shared._places, None)
    second._memory = os.dup(shared._memory)
    assert facts(first) == facts(second.dataset) == facts(kind())


@pytest.mark.parametrize("kind", KINDS)
def test_without_memory_that_processes_share_each_receives_a_copy(kind, monkeypatch):
    def refuse(*_):
        raise OSError("no space")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert facts(SharedDataset.of(kind()).dataset) == facts(kind())
    monkeypatch.delattr(os, "memfd_create", raising=False)
    assert facts(SharedDataset.of(kind()).dataset) == facts(kind())


def mapped_later(path):
    return in_file(pixels(7), path)


def test_mapped_held_out_images_are_mapped_again(tmp_path):
    data = pixels(load_held_out=partial(mapped_later, tmp_path / "images.npy"))
    assert data.held_out.file
    shared = SharedDataset.of(data)
    assert sum(place.end - place.offset for place in shared._places) < 1.1 * data.images.nbytes
    assert shared.dataset.held_out.file.tensor is shared.dataset.held_out.images
    assert facts(shared.dataset) == facts(data)


def test_mapped_images_are_mapped_again_unless_they_have_changed(tmp_path):
    path = tmp_path / "images.npy"
    mapped = in_file(pixels(), path)
    shared = SharedDataset.of(mapped)
    assert len(shared._content) < 5_000
    received = SharedDataset(shared._content, shared._places, os.dup(shared._memory)).dataset
    assert received.file.tensor is received.images
    assert facts(received) == facts(mapped)
    path.with_suffix(".new").write_bytes(path.read_bytes())
    path.with_suffix(".new").replace(path)
    with pytest.raises(DitbenchError, match=r"images\.npy cannot be read: they have") as raised:
        _ = shared.dataset
    assert raised.value.exit_code == EXIT_FAILED
    path.unlink()
    with pytest.raises(DitbenchError, match="cannot be read: "):
        _ = shared.dataset
