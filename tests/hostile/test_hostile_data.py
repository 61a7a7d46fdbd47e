"""Folders of images that are damaged or malicious: each is one line, and nothing is written."""

import io
import os
import socket
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from contract import assert_one_line, load_or_refuse
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import encode, forged_png, write_folder, write_zip
from PIL import Image

from ditbench.data.io import limits
from ditbench.data.io.files import shown
from ditbench.data.pictures.prepared import prepared

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)
RGB = np.stack([GREY, GREY + 1, GREY + 2], axis=-1)


GOOD = {"cat/1.png": encode(GREY), "dog/1.png": encode(GREY + 9)}
NOISE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)

buffer = io.BytesIO()
Image.new("LAB", (8, 8)).save(buffer, "TIFF")
LAB = buffer.getvalue()

# The content of one file, and a part of the error.
FILES = {
    "no bytes": (b"", "is not an image"),
    "text": (b"hello", "is not an image"),
    "a pickle": (b"\x80\x04\x95cos\nsystem\n(S'touch pwned'\ntR.", "is not an image"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n", "is not an image"),
    "a PNG's signature alone": (encode(GREY)[:8], "1.png is "),
    "a PNG cut in its pixels": (encode(GREY)[:45], "1.png is "),
    "a PNG of half its rows": (forged_png(8, 8, body=b"\0" * 30), "damaged or cut short"),
    "a PNG of no width": (forged_png(0, 8), "1.png is "),
    "a JPEG cut short": (encode(NOISE, "JPEG")[:-300], "damaged or cut short"),
    "a WebP cut short": (encode(NOISE, "WEBP")[:-50], "1.png"),
    "a BMP cut short": (encode(RGB, "BMP")[:-20], "damaged or cut short"),
    "a TIFF cut short": (encode(RGB, "TIFF")[:-80], "1.png"),
    "a PPM without pixels": (b"P6 4096 4096 255\n", "damaged or cut short"),
    "a PPM of negative size": (b"P5 -4 4 255\n", "1.png"),
    "a PNG of 4097 pixels": (forged_png(4_097, 1), "too large: 4097x1"),
    "a PNG of 100 million pixels": (forged_png(10_000, 10_000), "too large"),
    "a PNG of 2**31 - 1 squared": (forged_png(2**31 - 1, 2**31 - 1), "too large"),
    "a PPM of a billion rows": (b"P5 4 1000000000 255\n", "too large"),
    "a BMP of 2**30": (
        encode(GREY, "BMP")[:18] + struct.pack("<ii", 2**30, 2**30) + encode(GREY, "BMP")[26:],
        "too large",
    ),
    "32 bits": (encode(GREY.astype(np.int32) + 2**17, "TIFF"), "32 bits per pixel"),
    "floats": (encode(GREY.astype(np.float32), "TIFF"), "mode F"),
    "Lab": (LAB, "mode LAB"),
    "another size": (encode(GREY[:7]), "1.png is 8x7, but cat/1.png is 8x8"),
}


RUN = ("run", "--preset", "digits", "--block", "adaln", "--device", "cpu")


def of_data(path):
    return (*RUN, "--data", path, "--batch-size", "1")


@pytest.mark.parametrize("pack", [write_folder, write_zip], ids=["folder", "zip"])
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_a_supported_image_is_one_line(refused, tmp_path, name, pack):
    data, reason = FILES[name]
    path = pack(tmp_path / "data.zip", {**GOOD, "eel/1.png": data})
    refused(*of_data(path), parts=(reason,))


def as_pipe(root):
    os.mkfifo(write_folder(root, GOOD) / "cat/0.png")


def as_socket(root):
    write_folder(root, GOOD)
    short = Path(os.path.relpath(root / "cat/0.png"))  # the name of a socket has 107 bytes
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(short))


def link(name, target):
    """The good folder and a link, to a path in the folder or an absolute one."""
    return lambda root: (write_folder(root, GOOD) / name).symlink_to(root / target)


def named(name, data=b"no image"):
    return lambda root: write_folder(root, {**GOOD, name: data})


def empty_classes(root):
    (root / "cat").mkdir(parents=True)
    (root / "dog").mkdir()


FOLDERS = {
    "nothing in it": (Path.mkdir, "no class folders"),
    "one empty class": (
        lambda root: (write_folder(root, GOOD) / "eel").mkdir(),
        "class folder eel is empty",
    ),
    "only empty classes": (empty_classes, "no class folders"),
    "an image of no suffix alone": (
        lambda root: write_folder(root, {"one": encode(GREY)}),
        "no class folders",
    ),
    "an image beside the classes": (named("stray.png"), "is not in a class folder"),
    "a class of texts": (named("eel/notes.txt"), "class eel holds no pictures"),
    "a train folder and an image beside it": (
        lambda root: (
            write_folder(root, {"train/" + name: data for name, data in GOOD.items()})
            and named("stray.png")(root)
        ),
        "is not in a class folder",
    ),
    "a table of files that are not there": (
        named("metadata.csv", b"file_name,label\ncat/9.png,1\n"),
        "metadata.csv names cat/9.png, which is not in its folder",
    ),
    "a table without a label": (
        named("metadata.csv", b"file_name,label\ncat/1.png,\n"),
        "metadata.csv gives cat/1.png no label",
    ),
    "a table of no text": (named("metadata.csv", b"\xff\xfe\xfd"), "is not UTF-8"),
    "a table of another form": (named("metadata.jsonl", b"[1, 2]\n"), "is not a table"),
    "many levels": (named("a/" * 60 + "1.png", encode(GREY)), "is not in a class folder"),
    "a pipe": (as_pipe, "is a pipe"),
    "a socket": (as_socket, "is a pipe, a socket"),
    "a device": (link("cat/0.png", "/dev/zero"), "is a pipe, a socket or a device"),
    "a link to the folder itself": (
        link("cat/again", "."),
        "is a link to a folder that contains it",
    ),
    "a link to itself": (link("cat/0.png", "cat/0.png"), "cannot read"),
    "a link to nothing": (link("cat/0.png", "gone"), "cannot read"),
    "a link to a secret file": (link("cat/0.png", "/etc/passwd"), "0.png is not an image"),
    "a name with a newline": (named("cat/a\nerror: forged\nhelp: no.png"), "\\nerror: forged"),
    "a name that clears the terminal": (named("cat/\x1b[2J\x07.png"), "\\x1b[2J"),
    "a name written backwards": (named("cat/\u202egnp.png"), "\\u202e"),
    "a name of line separators": (named("cat/\u2028\x85.png"), "\\u2028\\x85"),
    "a pipe in place of the data": (os.mkfifo, "not a readable zip file"),
    "a device in place of the data": (
        lambda root: root.symlink_to("/dev/zero"),
        "not a readable zip file",
    ),
    "a name that looks like markup": (named("cat/[red]x[/red].png"), "[red]x[/red]"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_is_not_a_data_set_is_one_line(refused, tmp_path, name):
    build, reason = FOLDERS[name]
    build(tmp_path / "data")
    refused(*of_data(tmp_path / "data"), parts=(reason,))


def test_a_name_that_is_not_utf8_is_shown_escaped(refused, tmp_path):
    write_folder(tmp_path / "data", GOOD)
    Path(os.fsdecode(os.fsencode(tmp_path / "data/cat") + b"/\xff\xfe.png")).write_bytes(b"x")
    refused(*of_data(tmp_path / "data"), parts=("\\udcff\\udcfe.png is not an image",))


def test_a_link_to_a_class_folder_elsewhere_is_followed(tmp_path):
    write_folder(tmp_path / "far", GOOD)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/lynx").symlink_to(tmp_path / "far/cat")
    data = prepared(tmp_path / "data")
    assert (data.class_names, len(data)) == (("lynx",), 1)


def test_a_repository_in_the_folder_is_ignored(tmp_path):
    files = {**GOOD, ".git/objects/ab/cd": b"x", "cat/.thumbs/x/1.png": b"x"}
    assert len(prepared(write_folder(tmp_path, files))) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_class_folder_that_may_not_be_read_is_one_line(refused, tmp_path):
    (write_folder(tmp_path / "data", GOOD) / "cat").chmod(0)
    refused(*of_data(tmp_path / "data"), parts=("cannot read", "cat"))


@pytest.mark.parametrize("path", ["", "\0", "x" * 5_000, "/proc/self/mem", "~nobody/x", "a\nb"])
def test_a_path_without_data_is_one_line(refused, path):
    refused(*of_data(path))


def test_more_images_than_memory_and_disk_hold_are_refused_before_they_are_read(
    refused, tmp_path, monkeypatch
):
    monkeypatch.setattr(limits, "machine_memory", lambda: 2 * 2 * 64 - 1)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2 * 64 - 1))
    path = write_zip(tmp_path / "data.zip", GOOD)
    refused(*of_data(path), code=1, parts=("is too large: 2 images of 8x8", "too little space"))
    monkeypatch.setattr(limits, "machine_memory", lambda: 2 * 2 * 64)
    assert len(prepared(path)) == 2


def test_a_small_zip_that_expands_to_gigabytes_is_refused(refused, tmp_path, monkeypatch):
    side, count = 1_024, 1_000  # 3 GB
    monkeypatch.setattr(limits, "machine_memory", lambda: 2**32)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2**31))
    one = forged_png(side, side, colour=2, body=bytes(side * (3 * side + 1)))
    files = {"x/00000.png": one} | {f"x/{n:05}.png": b"" for n in range(1, count)}
    path = write_zip(tmp_path / "bomb.zip", files)
    assert path.stat().st_size < 2**20
    refused(*of_data(path), code=1, parts=("is too large: 1000 images of 1024x1024",))


def test_warnings_and_logs_of_pillow_are_not_printed(refused, tmp_path, recwarn, caplog):
    odd = bytearray(encode(RGB, "TIFF"))
    path = write_folder(tmp_path / "data", {"x/1.tif": bytes(odd[:-4])})
    refused(*of_data(path))
    assert not [str(warning.message) for warning in recwarn if "PIL" in warning.filename]


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=600))
def test_every_name_is_shown_on_one_line(name):
    assert shown(name).isprintable()
    assert len(shown(name)) <= 403


KINDS = {kind: encode(NOISE if kind != "GIF" else NOISE[..., 0], kind)
         for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM", "TIFF")}  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(cut=st.floats(0, 1), flips=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255))))
def test_a_damaged_image_loads_or_is_one_line(tmp_path_factory, kind, cut, flips):
    data = bytearray(KINDS[kind])
    for place, flip in flips:
        data[int(place * (len(data) - 1))] ^= flip
    path = tmp_path_factory.mktemp("fuzz")
    write_folder(path, {"x/1.png": bytes(data[: round(len(data) * cut)])})
    load_or_refuse(lambda: prepared(path))


def test_assert_one_line_can_fail():
    for text in ("a\nb", "\x1b[0m", "", "x" * 5_000):
        with pytest.raises(AssertionError):
            assert_one_line(text)
