"""Pictures that do not fit into memory: the same data set, in a file of the own_cache."""

import numpy as np
import pytest
from pictures import encode, grey, write_folder

from ditbench.data.io import limits
from ditbench.data.pictures import decode
from ditbench.data.pictures import prepared as module
from ditbench.data.pictures.prepared import prepared
from ditbench.data.pictures.settings import Settings
from ditbench.errors import EXIT_FAILED, DitbenchError

RGB = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
FILES = {"a/1.png": grey(1), "a/2.png": b"x", "a/3.png": encode(RGB), "b/4.png": grey(4)}
SETTINGS = Settings(max_unreadable=0.5)


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "pictures", FILES)


def small_memory(monkeypatch, size=1):
    monkeypatch.setattr(limits, "machine_memory", lambda: size)


def test_it_is_the_same_data_set(own_cache, folder, monkeypatch):
    expected = prepared(folder, SETTINGS)
    assert expected.file is None
    small_memory(monkeypatch)
    found = prepared(folder, SETTINGS)
    assert found.file is not None
    assert found.digest == expected.digest
    assert (found.notes, found.problems) == (expected.notes, expected.problems)
    assert np.array_equal(np.load(found.file.path), expected.images.numpy())
    assert {path.suffix for path in own_cache.iterdir()} == {".npy", ".json", ".lock"}
    monkeypatch.setattr(module, "decode_all", None)
    again = prepared(folder, SETTINGS)
    assert (again.digest, again.file.path) == (expected.digest, found.file.path)


def test_grey_fits_and_colour_does_not(own_cache, folder, monkeypatch):
    expected = prepared(folder, SETTINGS).digest
    small_memory(monkeypatch, 2 * 4 * 6 * 4)
    found = prepared(folder, SETTINGS)
    assert (found.digest, found.file is None) == (expected, False)


def test_a_file_that_is_damaged_is_written_again(own_cache, folder, monkeypatch):
    small_memory(monkeypatch)
    found = prepared(folder, SETTINGS)
    expected, path = found.digest, found.file.path
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    assert prepared(folder, SETTINGS).digest == expected


@pytest.mark.parametrize("files", [{"a/1.png": grey(1), "a/2.png": grey(2, 5)}, FILES])
def test_an_error_leaves_no_file(own_cache, tmp_path, monkeypatch, files):
    small_memory(monkeypatch)
    with pytest.raises(DitbenchError):
        prepared(write_folder(tmp_path / "other", files))
    assert {path.suffix for path in own_cache.iterdir()} <= {".lock"}


def test_a_change_meanwhile_leaves_no_file(own_cache, folder, monkeypatch):
    small_memory(monkeypatch)

    def change(*known):
        (folder / "a/1.png").write_bytes(grey(9))
        return decode.decode_all(*known)

    monkeypatch.setattr(module, "decode_all", change)
    with pytest.raises(DitbenchError, match="changed while it was read"):
        prepared(folder, SETTINGS)
    assert {path.suffix for path in own_cache.iterdir()} <= {".lock"}


@pytest.mark.parametrize("place", ["a file", "nowhere"])
def test_without_a_cache_there_is_no_place(own_cache, folder, monkeypatch, place):
    small_memory(monkeypatch)
    if place == "a file":
        own_cache.write_text("x")
    else:
        monkeypatch.setattr("ditbench.data.io.pixel_file.cache_directory", lambda: None)
    with pytest.raises(DitbenchError, match=r"4 images of 6x4 need .* more than memory") as raised:
        prepared(folder, SETTINGS)
    assert raised.value.exit_code == EXIT_FAILED
    assert "DITBENCH_CACHE" in raised.value.hint
