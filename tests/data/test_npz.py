import tempfile
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pictures import encode, write_folder

from ditbench.data import load_dataset
from ditbench.data.latents.npz import load_npz
from ditbench.data.pictures.prepared import prepared

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
    assert read.images.is_contiguous()
    assert read.labels.dtype == torch.long
    assert np.array_equal(read.labels.numpy(), labels.astype(np.int64))
    assert read.class_names == tuple(str(number) for number in range(int(labels.max()) + 1))
    assert read.name == "mine"


def test_the_same_images_in_folders_and_in_an_npz_are_one_data_set(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), np.uint8)
    names = ["cat/0.png", "cat/1.png", "dog/2.png", "eel/3.png"]
    write_folder(tmp_path / "mine", dict(zip(names, map(encode, images), strict=True)))
    path = tmp_path / "mine.npz"
    np.savez(path, images=images, labels=[0, 0, 1, 2], class_names=["cat", "dog", "eel"])
    by_npz, by_folder = load_dataset("npz", path), prepared(tmp_path / "mine")
    assert by_npz.digest == by_folder.digest
    assert by_npz.class_names == by_folder.class_names


def test_a_named_class_may_have_no_images(tmp_path):
    path = tmp_path / "a.npz"
    names = [f"class {number}" for number in range(7)]
    np.savez(path, images=np.zeros((1, 2, 2), np.uint8), labels=[6], class_names=names, note="x")
    data = load_npz(path)
    assert data.class_names == tuple(names)
    assert torch.equal(data.labels, torch.tensor([6]))


@pytest.mark.filterwarnings("error")
def test_an_array_of_version_2_is_read(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, labels=[0])
    buffer = BytesIO()
    np.lib.format.write_array(buffer, np.full((1, 2, 2), 7, np.uint8), version=(2, 0))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("images.npy", buffer.getvalue())
    assert load_npz(path).images.flatten().tolist() == [7] * 4


def test_the_digest_of_an_npz_never_changes(tmp_path):
    """Fingerprints of existing runs depend on it."""
    path = tmp_path / "a.npz"
    images = np.arange(4 * 2 * 3 * 3, dtype=np.uint8).reshape(4, 2, 3, 3)
    np.savez(path, images=images, labels=[0, 2, 1, 1], class_names=["x", "y", "z"])
    digest = "04e4003d36415b8ea3dbfd133175545f27b324b9450e9c3ca848cbc4874c9ec0"
    assert load_npz(path).digest == digest
