""".npz files that are damaged or malicious: each is one line, and nothing is executed."""

import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from contract import assert_error, load_or_refuse
from hypothesis import given, settings
from hypothesis import strategies as st

from ditbench.data import npz
from ditbench.data.io import limits
from ditbench.data.latents.npz import load_npz
from ditbench.errors import DitbenchError

IMAGES = np.arange(4 * 8 * 8 * 3, dtype=np.uint8).reshape(4, 8, 8, 3)
GOOD = {"images": IMAGES, "labels": np.array([0, 1, 0, 1])}


def saved(save=np.savez, **arrays):
    buffer = io.BytesIO()
    save(buffer, **{name: value for name, value in (GOOD | arrays).items() if value is not None})
    return buffer.getvalue()


def of(**arrays):
    return lambda: saved(**arrays)


def array(value):
    buffer = io.BytesIO()
    np.save(buffer, value)
    return buffer.getvalue()


def header(text, version=1, declared=None):
    """The beginning of an .npy file with any header."""
    form = "<H" if version == 1 else "<I"
    length = len(text) if declared is None else declared
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack(form, length) + text.encode()


def shape(value, dtype="|u1"):
    return header(f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {value}}}\n")


def members(**raw):
    """A zip of these bytes, which replace the good arrays or are added to them."""

    def build():
        files = {"images": array(IMAGES), "labels": array(GOOD["labels"]), **raw}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(f"{name}.npy", data)
        return buffer.getvalue()

    return build


class Boom:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def twins():
    buffer = io.BytesIO(saved())
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("images.npy", array(IMAGES + 1))
    return buffer.getvalue()


def flipped():
    data = bytearray(saved())
    data[data.index(IMAGES.tobytes()[:16]) + 20] ^= 1
    return bytes(data)


FILES = {
    "no bytes": (lambda: b"", "not a readable .npz file"),
    "one array, by numpy.save": (lambda: array(IMAGES), "not a readable .npz file"),
    "a pickle": (lambda: b"\x80\x04\x95cos\nsystem\n", "not a readable .npz file"),
    "half of it": (lambda: saved()[:400], "not a readable .npz file"),
    "a zip of nothing": (lambda: b"PK\5\6" + bytes(18), "missing, the file holds nothing"),
    "no images": (of(images=None), "images is missing, the file holds labels.npy"),
    "other names": (of(images=None, x=IMAGES), "the file holds labels.npy, x.npy"),
    "pickled objects": (of(images=np.array([Boom()] * 4, dtype=object)),
                        "cannot be read: its header does not describe plain numbers"),
    "pickled names": (of(class_names=np.array([Boom(), "dog"], dtype=object)),
                      "class_names cannot be read: its header"),
    "a structured type": (of(labels=np.zeros(4, [("a", "i4")])), "labels cannot be read"),
    "floats": (of(images=IMAGES / 255), "images are float64, expected uint8"),
    "a number": (of(images=np.uint8(3)), "images have shape ()"),
    "one image": (of(images=IMAGES[0, ..., 0]), "images have shape (8, 8)"),
    "channels first": (of(images=IMAGES.transpose(0, 3, 1, 2)), "images have shape (4, 3, 8, 8)"),
    "an alpha channel": (of(images=np.zeros((4, 8, 8, 4), np.uint8)), "shape (4, 8, 8, 4)"),
    "no image": (of(images=IMAGES[:0], labels=GOOD["labels"][:0]), "shape (0, 8, 8, 3)"),
    "no width": (of(images=IMAGES[:, :, :0]), "images have shape (4, 8, 0, 3)"),
    "a width of 4097": (of(images=np.zeros((4, 1, 4097), np.uint8)), "too large: 4097x1 pixels"),
    "labels of other number": (of(labels=[0, 1]), "labels have shape (2,), expected (4,)"),
    "labels that are floats": (of(labels=[0.0, 1, 0, 1]), "labels are float64"),
    "labels that are booleans": (of(labels=[True] * 4), "labels are bool, expected integers"),
    "a negative label": (of(labels=[0, -1, 0, 1]), "labels are -1..1, expected 0..1"),
    "a label of 10**15": (of(labels=[0, 10**15, 0, 1]), "go up to 1000000000000000, but"),
    "a label of 2**64 - 1": (of(labels=np.array([2**64 - 1, 0, 1, 1], np.uint64)), "go up to 1844"),
    "a label just above": (of(labels=[0, 4, 0, 1]), "go up to 4, but there are only 4 images"),
    "fewer names than classes": (of(class_names=["cat"]), "labels are 0..1, expected 0..0"),
    "names that are numbers": (of(class_names=[1, 2]), "class_names are int64 (2,)"),
    "names in a square": (of(class_names=[["a", "b"]]), "class_names are <U1 (1, 2)"),
    "no names": (of(class_names=np.array([], str)), "class_names are <U1 (0,)"),
    "a name twice": (of(class_names=["cat", "cat"]), "empty or not distinct"),
    "an empty name": (of(class_names=["cat", ""]), "empty or not distinct"),
    "an array twice": (twins, "2 members are named images.npy"),
    "a changed bit": (flipped, "images cannot be read: Bad CRC-32"),
    "no array": (members(images=b""), "images cannot be read"),
    "an image": (members(images=b"\x89PNG\r\n\x1a\n"), "images cannot be read"),
    "a header of no literal": (members(images=header("__import__('os').system('touch pwned')")),
                               "images cannot be read"),
    "a header nested deeply": (members(images=header("(" * 9_000)), "images cannot be read"),
    "a header of 4 GiB": (members(images=header("{", 2, 2**32 - 1)), "images cannot be read"),
    "a header of version 9": (members(images=b"\x93NUMPY\x09\x00" + bytes(90)),
                              "images cannot be read"),
    "a shape of 10**12 images": (members(images=shape("(1000000000000, 8, 8)")),
                                 "its length does not match its shape"),
    "a shape of 2**200": (members(images=shape(f"({2**200}, 8, 8)")),
                          "its length does not match its shape"),
    "a negative shape": (members(images=shape("(-4, 8, 8, 3)")), "does not describe plain numbers"),
    "a shape of booleans": (members(images=shape("(True, 8, 8, 3)")), "images cannot be read"),
    "fewer pixels than declared": (members(images=shape("(4, 8, 8)") + bytes(9)),
                                   "its length does not match its shape"),
    "more than declared": (members(images=shape("(4, 8, 8)") + bytes(257)),
                           "its length does not match its shape"),
    "a name that climbs out": (members(**{"../../x": b"x"}), "points outside"),
}  # fmt: skip


RUN = ("run", "--preset", "digits", "--block", "adaln", "--device", "cpu")


def run_on(path):
    return (*RUN, "--data", path, "--batch-size", "1")


@pytest.mark.parametrize("name", FILES)
def test_an_npz_that_is_not_a_data_set_is_one_line(refused, tmp_path, name):
    build, reason = FILES[name]
    (tmp_path / "data.npz").write_bytes(build())
    refused(*run_on(tmp_path / "data.npz"), parts=("data.npz", reason))


@pytest.mark.parametrize(
    ("make", "reason"),
    [(os.mkfifo, "neither a file nor a folder"), (Path.mkdir, "it is a folder"),
     (lambda path: path.symlink_to("/dev/zero"), "neither a file nor a folder"),
     (lambda path: path.symlink_to(path), "no such data")],
)  # fmt: skip
def test_a_path_that_is_not_a_file_is_one_line(refused, tmp_path, make, reason):
    make(tmp_path / "data.npz")
    refused(*run_on(tmp_path / "data.npz"), parts=(reason,))


@pytest.mark.parametrize("path", ["nowhere.npz", "\0.npz", "x" * 5_000 + ".npz", "a\nb.npz"])
def test_a_path_without_data_is_one_line(refused, path):
    refused(*run_on(path))


def test_more_images_than_memory_holds_are_refused_unread(refused, tmp_path, monkeypatch):
    (tmp_path / "data.npz").write_bytes(saved())
    monkeypatch.setattr(limits, "machine_memory", lambda: 2 * IMAGES.nbytes - 1)
    monkeypatch.setattr(npz, "read", None)
    refused(*run_on(tmp_path / "data.npz"), parts=("is too large: 4 images of 8x8",))


def test_a_small_file_that_expands_to_gigabytes_is_refused(refused, tmp_path, monkeypatch):
    count = 2**28  # images of one pixel; the memory of the machine is set below what they need
    monkeypatch.setattr(limits, "machine_memory", lambda: 2 * count - 1)
    path = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("images.npy", "w") as file,
    ):
        file.write(shape(f"({count}, 1, 1)"))
        for _ in range(2**8):
            file.write(bytes(2**20))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.npy", array(GOOD["labels"]))
    assert path.stat().st_size < 4 * 2**20
    refused(*run_on(path), parts=("is too large: 268435456 images of 1x1",))


WHOLE = {save.__name__: saved(save, class_names=["cat", "dog"])
         for save in (np.savez, np.savez_compressed)}  # fmt: skip


@pytest.mark.parametrize("kind", WHOLE)
def test_an_npz_cut_anywhere_is_refused(tmp_path, kind):
    for length in range(0, len(WHOLE[kind]), 9):
        (tmp_path / "data.npz").write_bytes(WHOLE[kind][:length])
        with pytest.raises(DitbenchError) as caught:
            load_npz(tmp_path / "data.npz")
        assert_error(caught.value)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", WHOLE)
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=6))
def test_an_npz_with_changed_bytes_loads_or_is_one_line(tmp_path_factory, kind, flips):
    data = bytearray(WHOLE[kind])
    for place, flip in flips:
        data[int(place * (len(data) - 1))] ^= flip
    path = tmp_path_factory.mktemp("fuzz") / "data.npz"
    path.write_bytes(bytes(data))
    read = load_or_refuse(lambda: load_npz(path))
    assert read is None or np.array_equal(read.images.numpy(), IMAGES.transpose(0, 3, 1, 2))
