from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ditbench.data import decode_many, pixel_cache
from ditbench.data.archive import open_files
from ditbench.data.decode_many import Tree
from ditbench.data.folder import load_folder
from ditbench.data.pixel_cache import cache_entry


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, in which two images are many."""
    monkeypatch.setenv("DITBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(decode_many, "MANY_FILES", 2)
    monkeypatch.setattr(decode_many, "_cores", lambda: 1)
    return tmp_path / "cache"


def write_image(path: Path, value: int) -> None:
    """A BMP: as long whatever its pixels are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 5, 3), value, np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("cat/1.bmp", "cat/2.bmp", "dog/1.bmp")):
        write_image(tmp_path / "animals" / name, number)
    return tmp_path / "animals"


@pytest.fixture
def packed(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder), "zip", folder))


def values(path: Path) -> list[int]:
    return load_folder(path).images[:, 0, 0, 0].tolist()


def nothing_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_many, "decode", None)


@pytest.mark.parametrize("kind", ["folder", "packed"])
def test_the_second_time_nothing_is_decoded(cache, request, monkeypatch, kind):
    path = request.getfixturevalue(kind)
    first = load_folder(path)
    nothing_is_decoded(monkeypatch)
    second = load_folder(path)
    assert second.digest == first.digest
    assert (second.name, second.class_names) == (first.name, first.class_names)
    assert second.labels.tolist() == first.labels.tolist() == [0, 0, 1]
    assert len(list(cache.iterdir())) == 1


def test_it_is_a_file_of_safetensors(cache, folder):
    expected = load_folder(folder).images
    (path,) = cache.iterdir()
    assert torch.equal(load_file(path)["images"], expected)
    assert path.stat().st_size % 8 == expected.nbytes % 8


def test_few_images_are_not_cached(cache, folder, monkeypatch):
    monkeypatch.setattr(decode_many, "MANY_FILES", 4)
    values(folder)
    assert not cache.exists()


def test_large_images_are(cache, folder, monkeypatch):
    monkeypatch.setattr(decode_many, "MANY_FILES", 4)
    monkeypatch.setattr(decode_many, "MANY_BYTES", 3 * 6 * 5 * 3)
    values(folder)
    assert list(cache.iterdir())


def test_a_file_of_the_same_size_and_time_is_another(cache, folder):
    assert values(folder) == [0, 1, 2]
    image = folder / "cat/2.bmp"
    before = image.stat()
    write_image(image, 77)
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = image.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert values(folder) == [0, 77, 2]


def test_a_zip_that_is_packed_again_is_another(cache, packed):
    assert values(packed) == [0, 1, 2]
    before = packed.stat()
    with zipfile.ZipFile(packed) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if name[-1] != "/"}
    names = list(files)
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, other in zip(names, reversed(names), strict=True):
            archive.writestr(name, files[other])
    os.utime(packed, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert values(packed) == [2, 1, 0]


def added(folder: Path) -> None:
    write_image(folder / "cat/3.bmp", 9)


def removed(folder: Path) -> None:
    (folder / "cat/1.bmp").unlink()


def renamed(folder: Path) -> None:
    (folder / "cat/1.bmp").rename(folder / "cat/9.bmp")


def swapped(folder: Path) -> None:
    (folder / "cat/1.bmp").rename(folder / "x")
    (folder / "cat/2.bmp").rename(folder / "cat/1.bmp")
    (folder / "x").rename(folder / "cat/2.bmp")


@pytest.mark.parametrize(
    ("change", "expected"),
    [(added, [0, 1, 9, 2]), (removed, [1, 2]), (renamed, [1, 0, 2]), (swapped, [1, 0, 2])],
)
def test_any_change_of_the_folder_is_seen(cache, folder, change, expected):
    values(folder)
    change(folder)
    assert values(folder) == expected
    assert len(list(cache.iterdir())) == 1  # in the place of the one before


def test_a_class_with_another_name_is_seen(cache, folder):
    values(folder)
    (folder / "cat").rename(folder / "eel")
    assert load_folder(folder).class_names == ("dog", "eel")
    assert values(folder) == [2, 0, 1]


def test_another_folder_has_a_file_of_its_own(cache, folder, tmp_path):
    values(folder)
    shutil.copytree(folder, tmp_path / "copy")
    assert values(tmp_path / "copy") == [0, 1, 2]
    assert len(list(cache.iterdir())) == 2


def test_another_folders_pixels_in_this_ones_place_are_not_used(cache, folder, tmp_path):
    values(folder)
    (mine,) = cache.iterdir()
    for number, name in enumerate(("cat/1.bmp", "cat/2.bmp", "dog/1.bmp")):
        write_image(tmp_path / "other" / name, 50 + number)
    values(tmp_path / "other")
    (theirs,) = set(cache.iterdir()) - {mine}
    theirs.replace(mine)
    assert values(folder) == [0, 1, 2]


def test_no_byte_of_it_can_change_unseen(cache, folder):
    expected = load_folder(folder).digest
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    for place in range(0, len(whole), 5):
        data = bytearray(whole)
        data[place] ^= 0x41
        path.write_bytes(bytes(data))
        assert load_folder(folder).digest == expected


def test_what_is_cut_short_is_not_used(cache, folder):
    values(folder)
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    for length in range(0, len(whole), 29):
        path.write_bytes(whole[:length])
        assert values(folder) == [0, 1, 2]


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_not_waited_for(cache, folder, make):
    values(folder)
    (path,) = cache.iterdir()
    path.unlink()
    make(path)
    assert values(folder) == [0, 1, 2]


def test_a_cache_that_cannot_be_written_is_none(cache, folder, monkeypatch):
    cache.write_text("a file")
    assert values(folder) == values(folder) == [0, 1, 2]
    monkeypatch.setattr(pixel_cache, "cache_directory", lambda: None)
    assert values(folder) == [0, 1, 2]


def test_more_than_a_home_should_hold_is_not_kept(cache, folder, monkeypatch):
    monkeypatch.setattr(pixel_cache, "MAX_BYTES", 10)
    values(folder)
    assert not cache.exists()


def test_what_changes_while_it_is_read_is_out_of_date_at_once(cache, folder):
    with open_files(folder) as files:
        tree = Tree(folder, files, ["cat/1.bmp", "cat/2.bmp", "dog/1.bmp"])
        before = cache_entry(tree)
        write_image(folder / "cat/1.bmp", 9)
        after = cache_entry(tree)
    assert before.path == after.path
    assert before.key != after.key


def test_a_file_that_is_gone_has_no_entry_and_is_told_as_ever(cache, folder):
    with open_files(folder) as files:
        assert cache_entry(Tree(folder, files, ["cat/0.bmp"])) is None


def test_another_pillow_decodes_anew(cache, folder, monkeypatch):
    values(folder)
    monkeypatch.setattr("PIL.__version__", "0.0.1")
    nothing_is_decoded(monkeypatch)
    with pytest.raises(TypeError):
        values(folder)
