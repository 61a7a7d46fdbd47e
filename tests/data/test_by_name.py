"""torchvision's data sets by name; what they would download is written here."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets
from PIL import Image

from ditbench.data import by_name, find_source, load_dataset
from ditbench.data.pictures.settings import Settings
from ditbench.data.shared import SharedDataset
from ditbench.errors import EXIT_FAILED, DitbenchError

RGB = np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32), np.uint8)


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    monkeypatch.setenv("DITBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache" / "data"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("cifar100", "CIFAR100"), ("SVHN", "SVHN"), ("stl-10", "STL10"), ("mnist", "MNIST"),
     ("flowers102", "Flowers102"), ("food_101", "Food101"), ("nonsense", None),
     ("fake-data", None), ("wrap_dataset_for_transforms_v2", None), ("", None)],
)  # fmt: skip
def test_names(name, kind):
    found = by_name.find(name)
    assert (found and found.__name__) == kind


def test_what_exists_is_a_path_and_what_does_not_may_be_a_name(tmp_path):
    (tmp_path / "mnist").mkdir()
    assert find_source(Path("mnist")) == ("folder", Path("mnist"))
    assert find_source(Path("cifar100")) == ("cifar100", None)
    assert find_source(Path("digits")) == ("digits", None)
    assert find_source(Path("x/cifar100")) == ("folder", Path("x/cifar100"))
    assert find_source(Path("cifar100.npz")) == ("npz", Path("cifar100.npz"))
    assert find_source(Path("folder")) == ("folder", Path("folder"))


@pytest.fixture
def cifar100(root, monkeypatch):
    """The files of CIFAR-100 as its page describes them."""
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    labels = [3, 0, 1, 2]
    for name, part in (("train", slice(4)), ("test", slice(4, 6))):
        batch = {"data": RGB[part].reshape(-1, 3072), "fine_labels": labels[: len(RGB[part])]}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": ["a", "b", "c", "d"]}))
    kind = torchvision.datasets.CIFAR100
    monkeypatch.setattr(kind, "_check_integrity", lambda _: True)
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": None})
    return folder


def test_a_data_set_with_a_train_argument(cifar100, capfd):
    data = load_dataset("cifar100")
    assert np.array_equal(data.images.numpy(), RGB[:4])
    assert (data.name, data.class_names) == ("cifar100", ("a", "b", "c", "d"))
    assert data.labels.tolist() == [3, 0, 1, 2]
    assert np.array_equal(data.held_out.images.numpy(), RGB[4:])
    assert capfd.readouterr().out == ""


def test_it_may_be_resized(cifar100):
    data = load_dataset("cifar100", settings=Settings(image_size=8))
    expected = Image.fromarray(RGB[0].transpose(1, 2, 0)).resize((8, 8), Image.Resampling.BICUBIC)
    assert np.array_equal(data.images[0].numpy(), np.asarray(expected).transpose(2, 0, 1))
    assert data.held_out.images.shape == (2, 3, 8, 8)


@pytest.mark.parametrize("size", [None, 8])
def test_another_process_can_read_its_held_out_pictures(cifar100, size):
    data = load_dataset("cifar100", settings=Settings(image_size=size))
    received = SharedDataset.of(data).dataset
    assert torch.equal(received.held_out.images, data.held_out.images)


class Splits:
    """As torchvision's data sets with splits: pictures of several sizes."""

    def __init__(self, root, split="train", download=False):
        if split not in ("train", "val"):
            raise ValueError(f"no {split}")
        self.split = split
        self._labels = [0, 1] if split == "train" else [1]

    def __len__(self):
        return len(self._labels)

    def __getitem__(self, index):
        size = (10 + index, 12)
        return Image.new("L", size, 100).convert("RGB" if index else "L"), self._labels[index]


def test_a_data_set_with_splits(monkeypatch):
    monkeypatch.setattr(torchvision.datasets, "STL10", Splits)
    with pytest.raises(DitbenchError, match="picture 1 is 11x12, but 0 is 10x12"):
        load_dataset("stl10")
    data = load_dataset("stl10", settings=Settings(image_size=8))
    assert data.images.unique().tolist() == [100]
    assert (data.class_names, data.channels) == (("0", "1"), 3)
    assert data.notes == ("1 grey made RGB",)
    assert (len(data.held_out), data.held_out.channels) == (1, 3)


def test_without_a_network_it_is_one_line_and_exit_1():
    with pytest.raises(DitbenchError, match="torchvision cannot load CIFAR100 in ") as raised:
        load_dataset("cifar100")
    assert raised.value.exit_code == EXIT_FAILED
    assert "Name or service not known" in raised.value.message


class Targets(Splits):
    def __init__(self, root, split="train", download=False):
        super().__init__(root, split)
        self._labels = [[1, 0], [0, 1]]


def test_several_labels_of_a_picture_are_no_class(monkeypatch):
    monkeypatch.setattr(torchvision.datasets, "CelebA", Targets)
    with pytest.raises(DitbenchError, match="do not have one class each"):
        load_dataset("celeba")


@pytest.mark.parametrize("name", ["emnist", "imagefolder", "kinetics", "voc-detection"])
def test_a_data_set_of_another_kind_is_one_line(name):
    with pytest.raises(DitbenchError):
        load_dataset(name)


def test_an_unknown_name_offers_known_ones():
    with pytest.raises(DitbenchError, match="unknown data set 'cifar11'") as raised:
        load_dataset("cifar11")
    assert raised.value.hint == "did you mean cifar10?"
