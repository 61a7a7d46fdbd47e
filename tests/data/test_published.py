import gzip
import hashlib
import os
import pickle
import struct
import tarfile
import urllib.error
import urllib.request
from unittest.mock import Mock

import numpy as np
import pytest
import torchvision.datasets

from ditbench.data import load_dataset
from ditbench.errors import EXIT_FAILED, EXIT_USAGE, DitbenchError

CLASSES = ["airplane", "automobile", "bird", "cat", "deer",
           "dog", "frog", "horse", "ship", "truck"]  # fmt: skip
BATCHES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
CIFAR_PIXELS = np.random.default_rng(0).integers(0, 256, (6, 2, 3, 32, 32), np.uint8)
CIFAR_LABELS = np.arange(12).reshape(6, 2) % 10
FASHION_PIXELS = np.random.default_rng(1).integers(0, 256, (5, 28, 28), np.uint8)
FASHION_LABELS = np.array([9, 0, 3, 3, 1], np.uint8)


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """The folder where files are expected; there is no network."""
    offline = Mock(side_effect=urllib.error.URLError("Name or service not known"))
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    monkeypatch.setenv("DITBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "data"


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_cifar10(root, monkeypatch):
    """The files of CIFAR-10 as its page describes them; torchvision expects their checksums."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name, pixels, labels in zip(BATCHES, CIFAR_PIXELS, CIFAR_LABELS, strict=True):
        batch = {"data": pixels.reshape(2, 3072), "labels": labels.tolist()}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": CLASSES}, protocol=2))
    kind = torchvision.datasets.CIFAR10
    sums = [[name, md5(folder / name)] for name in BATCHES]
    monkeypatch.setattr(kind, "train_list", sums[:5])
    monkeypatch.setattr(kind, "test_list", sums[5:])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5(folder / "batches.meta")})
    return folder


def idx(values):
    """Unsigned bytes in the IDX format that the page of MNIST describes."""
    sizes = struct.pack(f">{values.ndim}I", *values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()


def fashion_files():
    return {
        "train-images-idx3-ubyte": idx(FASHION_PIXELS),
        "train-labels-idx1-ubyte": idx(FASHION_LABELS),
        "t10k-images-idx3-ubyte": idx(FASHION_PIXELS[:1]),
        "t10k-labels-idx1-ubyte": idx(FASHION_LABELS[:1]),
    }


def write_fashion(root):
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for name, data in fashion_files().items():
        (folder / name).write_bytes(data)
    return folder


def assert_is_cifar10(data):
    assert data.name == "cifar10"
    assert data.class_names == tuple(CLASSES)
    assert np.array_equal(data.images.numpy(), CIFAR_PIXELS[:5].reshape(10, 3, 32, 32))
    assert data.labels.tolist() == CIFAR_LABELS[:5].flatten().tolist()


def assert_is_fashion(data):
    assert data.name == "fashion-mnist"
    assert data.class_names[9] == "Ankle boot"
    assert np.array_equal(data.images.numpy(), FASHION_PIXELS[:, None])
    assert data.labels.tolist() == FASHION_LABELS.tolist()


def test_files_on_disk_are_read_without_a_network(root, monkeypatch, capfd):
    write_cifar10(root, monkeypatch)
    write_fashion(root)
    assert_is_cifar10(load_dataset("cifar10"))
    assert_is_fashion(load_dataset("fashion-mnist"))
    assert capfd.readouterr() == ("", "")


def test_the_test_split_is_held_out(root, monkeypatch):
    write_cifar10(root, monkeypatch)
    write_fashion(root)
    held_out = load_dataset("cifar10").held_out
    assert np.array_equal(held_out.images.numpy(), CIFAR_PIXELS[5].reshape(2, 3, 32, 32))
    assert held_out.labels.tolist() == CIFAR_LABELS[5].tolist()
    assert load_dataset("fashion-mnist").held_out.labels.tolist() == FASHION_LABELS[:1].tolist()


def test_a_damaged_test_split_is_found_when_it_is_asked_for(root):
    folder = write_fashion(root)
    (folder / "t10k-images-idx3-ubyte").write_bytes(b"")
    data = load_dataset("fashion-mnist")
    with pytest.raises(DitbenchError, match=f"Fashion-MNIST in {folder} is damaged: "):
        _ = data.held_out


def test_another_folder_may_hold_them(tmp_path, monkeypatch):
    write_cifar10(tmp_path / "mine", monkeypatch)
    write_fashion(tmp_path / "mine")
    assert_is_cifar10(load_dataset("cifar10", tmp_path / "mine"))
    assert_is_fashion(load_dataset("fashion-mnist", tmp_path / "mine"))


def test_an_archive_that_was_copied_by_hand_is_unpacked(root, tmp_path, monkeypatch, capfd):
    folder = write_cifar10(tmp_path / "elsewhere", monkeypatch)
    root.mkdir(parents=True)
    with tarfile.open(root / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(folder, folder.name)
    kind = torchvision.datasets.CIFAR10
    monkeypatch.setattr(kind, "tgz_md5", md5(root / "cifar-10-python.tar.gz"))
    assert_is_cifar10(load_dataset("cifar10"))
    assert capfd.readouterr().out == ""


def test_archives_of_fashion_mnist_are_unpacked(root, monkeypatch, capfd):
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    resources = []
    for name, data in fashion_files().items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(data))
        resources.append((f"{name}.gz", md5(folder / f"{name}.gz")))
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "resources", resources)
    assert_is_fashion(load_dataset("fashion-mnist"))
    assert capfd.readouterr().out == ""


def refused(name, path=None, code=EXIT_FAILED):
    with pytest.raises(DitbenchError) as caught:
        load_dataset(name, path)
    error = caught.value
    assert error.exit_code == code
    assert error.message.isprintable()
    assert error.hint.isprintable()
    return error


@pytest.mark.parametrize(
    ("name", "title", "file", "source"),
    [
        ("cifar10", "CIFAR-10", "cifar-10-python.tar.gz", "www.cs.toronto.edu/~kriz"),
        ("fashion-mnist", "Fashion-MNIST", "images-idx3", "github.com/zalandoresearch"),
    ],
)
def test_without_a_network_the_hint_says_what_to_copy_where(root, capfd, name, title, file, source):
    error = refused(name)
    assert error.message.startswith(f"cannot download {title} to {root}: ")
    assert "Name or service not known" in error.message
    for part in (file, source, str(root), "--data PATH"):
        assert part in error.hint
    assert capfd.readouterr().out == ""


def test_a_server_that_sends_something_else_is_one_line(monkeypatch, root, tmp_path):
    class Page:
        url, length = "https://example.org/login", 5

        def __init__(self):
            self.parts = [b"<html", b""]

        def read(self, *_):
            return self.parts.pop(0)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: Page())
    assert "corrupted" in refused("cifar10").message
    refused("fashion-mnist")


def test_a_folder_that_cannot_be_written_is_one_line(root):
    root.parent.parent.joinpath("cache").write_text("a file")
    assert "Not a directory" in refused("cifar10").message
    refused("fashion-mnist")


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_a_pickle_that_is_not_the_published_one_is_never_opened(root, monkeypatch, name, tmp_path):
    class Boom:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "pwned"),)

    folder = write_cifar10(root, monkeypatch)
    (folder / name).write_bytes(pickle.dumps(Boom()))
    error = refused("cifar10")
    assert f"{folder} is damaged: the checksum of a file differs" in error.message
    assert "move that folder away" in error.hint
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"train-images-idx3-ubyte": idx(FASHION_PIXELS)[:-9]},
        {"train-images-idx3-ubyte": b""},
        {"train-images-idx3-ubyte": idx(FASHION_PIXELS[:, :14])},
        {"train-images-idx3-ubyte": idx(FASHION_PIXELS[:4])},
        {"train-labels-idx1-ubyte": idx(FASHION_LABELS[:3])},
        {"train-labels-idx1-ubyte": idx(FASHION_LABELS + 8)},
        {"train-labels-idx1-ubyte": idx(FASHION_PIXELS)},
        {"train-labels-idx1-ubyte": b"hello"},
    ],
)
def test_fashion_mnist_that_is_damaged_is_one_line(root, change):
    folder = write_fashion(root)
    for name, data in change.items():
        (folder / name).write_bytes(data)
    assert f"Fashion-MNIST in {folder} is damaged: " in refused("fashion-mnist").message


def test_a_file_in_place_of_the_folder_is_refused_with_a_hint(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"")
    error = refused("cifar10", tmp_path / "a.zip", EXIT_USAGE)
    assert "is a file, but 'cifar10' is read from a folder" in error.message
    assert error.hint.endswith(f"--data {tmp_path / 'a.zip'}")


def test_without_a_home_directory_it_asks_for_a_folder(monkeypatch):
    monkeypatch.setattr("ditbench.data.published.cache_directory", lambda: None)
    error = refused("cifar10")
    assert "no home directory" in error.message
    assert "data.path=DIR" in error.hint


REAL = urllib.request.urlopen


@pytest.mark.network
@pytest.mark.parametrize(
    ("name", "count", "channels", "side"),
    [("cifar10", 50_000, 3, 32), ("fashion-mnist", 60_000, 1, 28)],
)
def test_the_real_downloads(root, monkeypatch, capfd, name, count, channels, side):
    monkeypatch.setattr(urllib.request, "urlopen", REAL)
    data = load_dataset(name)
    assert data.images.shape == (count, channels, side, side)
    assert data.labels.bincount().tolist() == [count // 10] * 10
    assert capfd.readouterr().out == ""
    monkeypatch.undo()
    monkeypatch.setenv("DITBENCH_CACHE", str(root.parent))
    assert load_dataset(name).digest == data.digest
