from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from ditbench.data import load_dataset
from ditbench.data.folder import load_folder
from ditbench.data.npz import load_npz

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)).flatmap(
    lambda shape: st.sampled_from([shape, (*shape, 1), (*shape, 3)])
)


@settings(max_examples=40, deadline=None)
@given(
    images=SHAPES.flatmap(lambda shape: hnp.arrays(np.uint8, shape)),
    kind=st.sampled_from(["int8", "uint8", ">i4", "int64", "uint64"]),
    fortran=st.booleans(),
    save=st.sampled_from([np.savez, np.savez_compressed]),
    data=st.data(),
)
def test_every_pixel_and_label_comes_back(images, kind, fortran, save, data):
    N = len(images)
    labels = data.draw(hnp.arrays(np.int64, N, elements=st.integers(0, N - 1))).astype(kind)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "mine.npz"
        save(path, images=np.asfortranarray(images) if fortran else images, labels=labels)
        read = load_npz(path)
    C = images.shape[3] if images.ndim == 4 else 1
    assert read.images.shape == (N, C, *images.shape[1:3])
    expected = np.moveaxis(images.reshape(*images.shape[:3], C), 3, 1)
    assert np.array_equal(read.images.numpy(), expected)
    assert np.array_equal(read.labels.numpy(), labels.astype(np.int64))
    assert read.class_names == tuple(str(number) for number in range(int(labels.max()) + 1))
    assert read.name == "mine"


def test_the_same_images_in_folders_and_in_an_npz_are_one_data_set(tmp_path: Path):
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), np.uint8)
    for number, (name, image) in enumerate(zip(("cat", "cat", "dog", "eel"), images, strict=True)):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        (tmp_path / "mine" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name / f"{number}.png").write_bytes(buffer.getvalue())
    path = tmp_path / "mine.npz"
    np.savez(path, images=images, labels=[0, 0, 1, 2], class_names=["cat", "dog", "eel"])
    by_npz, by_folder = load_dataset("npz", path), load_folder(tmp_path / "mine")
    assert by_npz.digest == by_folder.digest
    assert by_npz.class_names == by_folder.class_names


def test_a_class_may_have_no_image_when_it_has_a_name(tmp_path: Path):
    path = tmp_path / "a.npz"
    names = [f"class {number}" for number in range(7)]
    np.savez(path, images=np.zeros((1, 2, 2), np.uint8), labels=[6], class_names=names, note="x")
    data = load_npz(path)
    assert data.class_names == tuple(names)
    assert torch.equal(data.labels, torch.tensor([6]))


def test_images_are_contiguous_and_ones_own(tmp_path: Path):
    path = tmp_path / "a.npz"
    np.savez(path, images=np.zeros((2, 3, 4, 3), np.uint8), labels=[0, 1])
    data = load_npz(path)
    assert data.images.is_contiguous()
    assert data.labels.dtype == torch.long


@pytest.mark.filterwarnings("error")
def test_an_array_of_version_2_is_read(tmp_path: Path):
    path = tmp_path / "a.npz"
    np.savez(path, labels=[0])
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.full((1, 2, 2), 7, np.uint8), version=(2, 0))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("images.npy", buffer.getvalue())
    assert load_npz(path).images.flatten().tolist() == [7] * 4
