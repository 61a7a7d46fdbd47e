import os
import shutil
import zipfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ditbench.data.io import pixel_cache
from ditbench.data.pictures import prepared as module
from ditbench.data.pictures.decode import decode_all
from ditbench.data.pictures.settings import Settings
from ditbench.errors import DitbenchError
from ditbench.files import cannot_write


@pytest.fixture
def cache(own_cache, monkeypatch):
    """An empty cache, into which two images go."""
    monkeypatch.setattr(pixel_cache, "MIN_FILES", 2)
    return own_cache


def entries(cache):
    """The files of the cache without locks, which stay."""
    return [path for path in cache.iterdir() if path.suffix != ".lock"]


def write_image(path, value):
    """A BMP: its length does not depend on its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 5, 3), value, np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate(("cat/1.bmp", "cat/2.bmp", "dog/1.bmp")):
        write_image(tmp_path / "animals" / name, number)
    return tmp_path / "animals"


@pytest.fixture
def packed(folder):
    return Path(shutil.make_archive(str(folder), "zip", folder))


def values(path):
    return module.prepared(path).images[:, 0, 0, 0].tolist()


def nothing_is_decoded(monkeypatch):
    monkeypatch.setattr(module, "decode_all", None)


@pytest.mark.parametrize("kind", ["folder", "packed"])
def test_the_second_time_nothing_is_decoded(cache, request, monkeypatch, kind):
    path = request.getfixturevalue(kind)
    first = module.prepared(path)
    nothing_is_decoded(monkeypatch)
    second = module.prepared(path)
    assert second.digest == first.digest
    assert (second.name, second.class_names) == (first.name, first.class_names)
    assert second.labels.tolist() == first.labels.tolist() == [0, 0, 1]
    assert len(entries(cache)) == 2


def test_the_pixels_are_an_npy_file_that_can_be_mapped(cache, folder):
    expected = module.prepared(folder).images.numpy()
    (path,) = cache.glob("*.npy")
    assert np.array_equal(np.load(path, "r"), expected)


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        ({"MIN_FILES": 4}, 0),
        ({"MIN_FILES": 4, "MIN_BYTES": 3 * 6 * 5 * 3}, 2),
        ({"MIN_FILES": 4, "MIN_SECONDS": 0.0}, 2),
        ({"MAX_BYTES": 9}, 0),
    ],
)
def test_images_are_cached_if_they_are_many_or_large_but_not_without_limit(
    cache, folder, monkeypatch, limits, count
):
    for name, value in limits.items():
        monkeypatch.setattr(pixel_cache, name, value)
    values(folder)
    assert len(entries(cache)) == count


def test_a_file_changed_under_its_size_and_time_is_noticed(cache, folder):
    assert values(folder) == [0, 1, 2]
    image = folder / "cat/2.bmp"
    before = image.stat()
    write_image(image, 77)
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = image.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert values(folder) == [0, 77, 2]


def test_a_zip_that_is_packed_again_is_noticed(cache, packed):
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


def added(folder):
    write_image(folder / "cat/3.bmp", 9)


def removed(folder):
    (folder / "cat/1.bmp").unlink()


def renamed(folder):
    (folder / "cat/1.bmp").rename(folder / "cat/9.bmp")


def swapped(folder):
    (folder / "cat/1.bmp").rename(folder / "x")
    (folder / "cat/2.bmp").rename(folder / "cat/1.bmp")
    (folder / "x").rename(folder / "cat/2.bmp")


def class_renamed(folder):
    (folder / "cat").rename(folder / "eel")


@pytest.mark.parametrize(
    ("change", "expected"),
    [(added, [0, 1, 9, 2]), (removed, [1, 2]), (renamed, [1, 0, 2]), (swapped, [1, 0, 2]),
     (class_renamed, [2, 0, 1])],
)  # fmt: skip
def test_any_change_of_the_folder_is_noticed(cache, folder, change, expected):
    values(folder)
    change(folder)
    assert values(folder) == expected
    assert len(entries(cache)) == 2  # it replaced the one before


def test_the_pixels_of_another_folder_are_not_used(cache, folder, tmp_path):
    values(folder)
    mine = {*entries(cache)}
    for number, name in enumerate(("cat/1.bmp", "cat/2.bmp", "dog/1.bmp")):
        write_image(tmp_path / "other" / name, 50 + number)
    values(tmp_path / "other")
    theirs = {*entries(cache)} - mine
    for one, other in zip(sorted(mine), sorted(theirs), strict=True):
        assert one.suffix == other.suffix
        other.replace(one)
    assert values(folder) == [0, 1, 2]


@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_a_change_of_any_byte_is_noticed(cache, folder, suffix):
    expected = module.prepared(folder).digest
    (path,) = cache.glob(f"*{suffix}")
    whole = path.read_bytes()
    for place in range(0, len(whole), 11):
        data = bytearray(whole)
        data[place] ^= 0x41
        path.write_bytes(bytes(data))
        assert module.prepared(folder).digest == expected


@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_a_truncated_file_is_not_used(cache, folder, suffix):
    values(folder)
    (path,) = cache.glob(f"*{suffix}")
    whole = path.read_bytes()
    for length in range(0, len(whole), 29):
        path.write_bytes(whole[:length])
        assert values(folder) == [0, 1, 2]


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["pipe", "folder"])
def test_a_pipe_or_folder_in_its_place_is_ignored(cache, folder, make, suffix):
    values(folder)
    (path,) = cache.glob(f"*{suffix}")
    path.unlink()
    make(path)
    assert values(folder) == [0, 1, 2]


def test_without_a_writable_cache_the_images_are_decoded(cache, folder, monkeypatch):
    cache.write_text("a file")
    assert values(folder) == values(folder) == [0, 1, 2]
    monkeypatch.setattr(pixel_cache, "cache_directory", lambda: None)
    assert values(folder) == [0, 1, 2]


def test_a_file_that_changes_while_it_is_read_is_one_message(cache, folder, monkeypatch):
    def decode_and_change(*arguments):
        read = decode_all(*arguments)
        write_image(folder / "cat/1.bmp", 9)
        return read

    with monkeypatch.context() as patch:
        patch.setattr(module, "decode_all", decode_and_change)
        with pytest.raises(DitbenchError, match="animals changed while it was read"):
            values(folder)
    assert values(folder) == [9, 1, 2]


def test_no_space_is_a_note_and_nothing_is_lost(cache, folder, monkeypatch):
    def full(path, write):
        raise cannot_write(path, OSError(28, "No space left on device"))

    monkeypatch.setattr(pixel_cache, "write_atomically", full)
    data = module.prepared(folder)
    assert len(data) == 3
    (note,) = data.notes
    assert note.startswith("not cached: cannot write ")
    assert note.endswith("No space left on device")


def test_each_way_of_reading_has_an_entry_of_its_own(cache, folder, monkeypatch):
    plain, small = module.prepared(folder), module.prepared(folder, Settings(image_size=4))
    nothing_is_decoded(monkeypatch)
    assert module.prepared(folder).digest == plain.digest
    assert module.prepared(folder, Settings(image_size=4)).digest == small.digest
    assert small.images.shape == (3, 3, 4, 4)


def test_notes_and_skipped_files_come_back(cache, folder, monkeypatch):
    (folder / "cat/0.bmp").write_bytes(b"x")
    (folder / "cat/a.txt").write_bytes(b"a cat")
    settings = Settings(max_unreadable=0.5)
    first = module.prepared(folder, settings)
    assert first.notes == ("1 unreadable skipped (cat/0.bmp is not an image)",
                           "files of other formats passed over: 1 .txt")  # fmt: skip
    assert first.problems == ("cat/0.bmp is not an image",)
    nothing_is_decoded(monkeypatch)
    second = module.prepared(folder, settings)
    assert (second.notes, second.problems) == (first.notes, first.problems)
    assert second.labels.tolist() == [0, 0, 1]


def test_another_version_of_pillow_decodes_again(cache, folder, monkeypatch):
    values(folder)
    monkeypatch.setattr("PIL.__version__", "0.0.1")
    nothing_is_decoded(monkeypatch)
    with pytest.raises(TypeError):
        values(folder)


def count_and_decode(path):
    decode = module.decode_all

    def counted(*arguments):
        with (path.parent / "decoded").open("a") as file:
            file.write("once\n")
        return decode(*arguments)

    module.decode_all, pixel_cache.MIN_FILES = counted, 2
    return module.prepared(path).digest


def test_one_process_decodes_and_the_others_wait(cache, folder):
    with ProcessPoolExecutor(3, mp_context=get_context("fork")) as pool:
        digests = {*pool.map(count_and_decode, [folder] * 3)}
    assert digests == {module.prepared(folder).digest}
    assert (folder.parent / "decoded").read_text() == "once\n"


def test_a_link_to_nothing_does_not_keep_others_from_the_cache(cache, folder, monkeypatch):
    (folder / "cat/0.bmp").symlink_to("nowhere")
    expected = module.prepared(folder, Settings(max_unreadable=0.5)).digest
    nothing_is_decoded(monkeypatch)
    assert module.prepared(folder, Settings(max_unreadable=0.5)).digest == expected
