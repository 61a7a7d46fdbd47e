import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import encode, grey, write_folder, write_zip

from ditbench.config import load
from ditbench.data import load_dataset
from ditbench.data.pictures.prepared import prepared
from ditbench.errors import DitbenchError

TREE = {"dog/b.png": grey(3), "cat/2.png": grey(2), "cat/1.png": grey(1)}


@pytest.mark.parametrize("wrap", ["", "animals/"], ids=["plain", "in one folder"])
@pytest.mark.parametrize("pack", [write_folder, write_zip], ids=["folder", "zip"])
def test_classes_and_files_in_the_order_of_their_names(tmp_path, pack, wrap):
    extras = {"README.txt": b"hello", "cat/.DS_Store": b"x", "__MACOSX/cat/._1.png": b"x"}
    files = {wrap + name: data for name, data in (TREE | extras).items()}
    data = prepared(pack(tmp_path / "animals.zip", files))
    assert data.name == "animals"
    assert data.class_names == ("cat", "dog")
    assert data.labels.tolist() == [0, 0, 1]
    assert data.images.shape == (3, 1, 4, 6)
    assert data.images[:, 0, 0, 0].tolist() == [1, 2, 3]
    assert data.images.is_contiguous()


@pytest.mark.parametrize(("file", "name"), [("set.v1.5", "set.v1.5"), ("set.v1.5.zip", "set.v1.5")])
@pytest.mark.parametrize("pack", [write_folder, write_zip], ids=["folder", "zip"])
def test_a_name_with_dots_stays_whole(tmp_path, pack, file, name):
    assert prepared(pack(tmp_path / file, TREE)).name == name


def test_the_digest_of_a_tree_never_changes(tmp_path):
    """Fingerprints of existing runs depend on it."""
    data = load_dataset("folder", write_folder(tmp_path / "a", TREE))
    assert data.digest == "f0c824cdb53f6670c69e87d4a82bbf73426ea105e8db6b3da016805a497b74b8"
    assert load_dataset("folder", write_zip(tmp_path / "b.zip", TREE)).digest == data.digest


@pytest.mark.parametrize("pack", [write_folder, write_zip], ids=["folder", "zip"])
def test_numbered_classes_are_in_order_of_their_numbers(tmp_path, pack):
    data = prepared(pack(tmp_path / "n.zip", {f"{n}/x.png": grey(n) for n in range(12)}))
    assert data.class_names == tuple(map(str, range(12)))
    assert data.images[:, 0, 0, 0].tolist() == data.labels.tolist() == list(range(12))


def test_files_stay_in_the_order_of_their_names(tmp_path):
    data = prepared(write_folder(tmp_path, {f"c/{n}.png": grey(n) for n in (2, 10, 1)}))
    assert data.images[:, 0, 0, 0].tolist() == [1, 10, 2]


def test_the_current_folder_names_the_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(write_folder(tmp_path / "here", TREE))
    config = load(overrides={"data.name": "folder", "data.path": "."})
    assert prepared(config.data.path).name == "here"


def test_backslashes_in_a_zip_are_named_as_the_cause(tmp_path):
    path = write_zip(tmp_path / "data.zip", {"cat\\1.png": grey(1)})
    with pytest.raises(DitbenchError, match="has a backslash in its name") as raised:
        prepared(path)
    assert "as Windows does" in raised.value.message
    assert "pack the class folders again" in raised.value.hint


def test_one_class_is_enough(tmp_path):
    data = prepared(write_folder(tmp_path, {"only/1.png": grey(1)}))
    assert (data.class_names, len(data)) == (("only",), 1)


@settings(max_examples=15, deadline=None)
@given(
    st.dictionaries(
        st.text("abcXYZ019 -_", min_size=1, max_size=6).map(lambda s: f"c{s}"),
        st.lists(st.integers(0, 255), min_size=1, max_size=3),
        min_size=1,
        max_size=4,
    ),
    st.integers(1, 5),
    st.integers(1, 5),
)
def test_every_pixel_and_label_comes_back(classes, height, width):
    tree = {
        f"{name}/{index}.png": grey(value, height, width)
        for name, values in classes.items()
        for index, value in enumerate(values)
    }
    with tempfile.TemporaryDirectory() as directory:
        data = prepared(write_zip(Path(directory) / "data.zip", tree))
    assert set(data.class_names) == set(classes)
    assert (data.height, data.width) == (height, width)
    expected = [(name, value) for name in data.class_names for value in classes[name]]
    found = zip(data.labels.tolist(), data.images.flatten(1), strict=True)
    assert [(data.class_names[label], set(x.tolist())) for label, x in found] == [
        (name, {value}) for name, value in expected
    ]


def test_rgb_channels_are_in_order(tmp_path):
    pixels = np.arange(3 * 2 * 3, dtype=np.uint8).reshape(3, 2, 3)  # H, W, C
    data = prepared(write_folder(tmp_path, {"x/1.png": encode(pixels)}))
    assert torch.equal(data.images[0], torch.from_numpy(pixels).permute(2, 0, 1))
