from __future__ import annotations

import io
import os
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ditbench.data import archive, decode, load_dataset
from ditbench.data.folder import load_folder
from ditbench.errors import EXIT_USAGE, DitbenchError


def encode(pixels: np.ndarray, kind: str = "PNG", mode: str | None = None) -> bytes:
    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, kind)
    return buffer.getvalue()


def grey(value: int, height: int = 4, width: int = 6) -> bytes:
    return encode(np.full((height, width), value, np.uint8))


def write_tree(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


TREE = {"dog/b.png": grey(3), "cat/2.png": grey(2), "cat/1.png": grey(1)}


def refuse(path: Path, *parts: str) -> DitbenchError:
    """The error of loading `path`; every part has to be in its message."""
    with pytest.raises(DitbenchError) as caught:
        load_folder(path)
    error = caught.value
    assert error.hint
    assert error.exit_code == EXIT_USAGE
    for part in parts:
        assert part in error.message
    assert "\n" not in error.message
    return error


@pytest.mark.parametrize("wrap", ["", "animals/"], ids=["plain", "in one folder"])
@pytest.mark.parametrize("pack", [write_tree, write_zip], ids=["folder", "zip"])
def test_classes_and_files_in_the_order_of_their_names(tmp_path: Path, pack, wrap: str):
    extras = {"README.txt": b"hello", "cat/.DS_Store": b"x", "__MACOSX/cat/._1.png": b"x"}
    files = {wrap + name: data for name, data in (TREE | extras).items()}
    data = load_folder(pack(tmp_path / "animals.zip", files))
    assert data.name == "animals"
    assert data.class_names == ("cat", "dog")
    assert data.labels.tolist() == [0, 0, 1]
    assert data.images.shape == (3, 1, 4, 6)
    assert data.images[:, 0, 0, 0].tolist() == [1, 2, 3]
    assert data.images.is_contiguous()


def test_folder_and_zip_of_it_are_the_same_data_set(tmp_path: Path):
    by_folder = load_dataset("folder", write_tree(tmp_path / "a", TREE))
    by_zip = load_dataset("folder", write_zip(tmp_path / "b.zip", TREE))
    assert by_folder.digest == by_zip.digest


def test_rgb_channels_are_in_order(tmp_path: Path):
    pixels = np.arange(3 * 2 * 3, dtype=np.uint8).reshape(3, 2, 3)  # H, W, C
    data = load_folder(write_tree(tmp_path, {"x/1.png": encode(pixels)}))
    assert torch.equal(data.images[0], torch.from_numpy(pixels).permute(2, 0, 1))


def test_one_class_is_enough(tmp_path: Path):
    data = load_folder(write_tree(tmp_path, {"only/1.png": grey(1)}))
    assert (data.class_names, len(data)) == (("only",), 1)


def test_jpeg(tmp_path: Path):
    data = load_folder(
        write_tree(tmp_path, {"x/1.JPG": encode(np.full((8, 8), 77, np.uint8), "JPEG")})
    )
    assert data.images.float().sub(77).abs().max() <= 1


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
def test_every_pixel_and_label_comes_back(classes: dict[str, list[int]], height: int, width: int):
    tree = {
        f"{name}/{index}.png": grey(value, height, width)
        for name, values in classes.items()
        for index, value in enumerate(values)
    }
    with tempfile.TemporaryDirectory() as directory:
        data = load_folder(write_zip(Path(directory) / "data.zip", tree))
    assert data.class_names == tuple(sorted(classes))
    assert (data.height, data.width) == (height, width)
    expected = [(name, value) for name in sorted(classes) for value in classes[name]]
    found = zip(data.labels.tolist(), data.images.flatten(1), strict=True)
    assert [(data.class_names[label], set(x.tolist())) for label, x in found] == [
        (name, {value}) for name, value in expected
    ]


def test_no_such_path(tmp_path: Path):
    refuse(tmp_path / "nowhere", "no such data", "nowhere")


def test_empty_folder(tmp_path: Path):
    refuse(tmp_path, "no class folders")


def test_folder_without_class_folders(tmp_path: Path):
    refuse(write_tree(tmp_path, {"1.png": grey(1)}), "1.png", "class folder")


def test_only_other_files(tmp_path: Path):
    refuse(write_tree(tmp_path, {"README.md": b"hello"}), "no class folders")


def test_empty_class_folder(tmp_path: Path):
    write_tree(tmp_path, TREE)
    (tmp_path / "eel").mkdir()
    refuse(tmp_path, "class folder eel is empty")


def test_image_beside_the_class_folders(tmp_path: Path):
    refuse(write_tree(tmp_path, TREE | {"stray.png": grey(1)}), "stray.png")


def test_too_deep(tmp_path: Path):
    files = {"train/cat/1.png": grey(1), "test/cat/1.png": grey(1)}
    refuse(write_tree(tmp_path, files), "cat/1.png does not lie in a class folder")


def test_not_an_image(tmp_path: Path):
    refuse(
        write_tree(tmp_path, TREE | {"cat/notes.txt": b"hello"}), "cat/notes.txt", "not an image"
    )


def test_postscript_is_never_handed_to_ghostscript(tmp_path: Path):
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n"
    refuse(write_tree(tmp_path, {"x/1.eps": eps}), "x/1.eps", "not an image")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP"])
def test_truncated(tmp_path: Path, kind: str):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    data = encode(noise, kind)
    refuse(write_tree(tmp_path, {"x/1.img": data[: len(data) // 2]}), "x/1.img")


@pytest.mark.parametrize("flip", [0, 5, 11, 14, 19, 24, 25, 30, 40, 45])
def test_damaged_png(tmp_path: Path, flip: int):
    data = bytearray(encode(np.full((4, 4, 3), 9, np.uint8)))
    data[flip] ^= 0xFF
    path = write_tree(tmp_path, {"x/1.png": bytes(data)})
    refuse(path, "x/1.png")


def test_mixed_sizes(tmp_path: Path):
    files = TREE | {"eel/1.png": grey(1, 5, 6)}
    refuse(write_tree(tmp_path, files), "eel/1.png is 6x5", "cat/1.png is 6x4")


def test_mixed_modes(tmp_path: Path):
    files = TREE | {"eel/1.png": encode(np.zeros((4, 6, 3), np.uint8))}
    assert "RGB" in str(refuse(write_tree(tmp_path, files), "eel/1.png is RGB").hint)


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA", "1", "I;16"])
def test_other_modes(tmp_path: Path, mode: str):
    pixels = np.zeros((4, 4, 3), np.uint8)
    wide = Image.fromarray(np.zeros((4, 4), np.uint16))
    buffer = io.BytesIO()
    wide.save(buffer, "PNG")
    data = buffer.getvalue() if mode == "I;16" else encode(pixels, mode=mode)
    error = refuse(write_tree(tmp_path, {"x/1.png": data}), "x/1.png", f"mode {mode}")
    assert "convert" in str(error.hint)


def huge_png(width: int, height: int) -> bytes:
    """A header that promises width x height pixels, and hardly any data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [4097, 10_000, 60_000])
@pytest.mark.filterwarnings("error")
def test_huge_declared_size_is_refused_before_decoding(tmp_path: Path, side: int):
    refuse(write_tree(tmp_path, {"x/1.png": huge_png(side, side)}), "x/1.png", "too large")


def test_file_of_many_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decode, "MAX_FILE_BYTES", 10)
    refuse(write_tree(tmp_path, TREE), "cat/1.png", "too large")


def test_zip_member_that_unfolds_to_many_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archive, "MAX_FILE_BYTES", 10)
    refuse(write_zip(tmp_path / "a.zip", TREE), "cat/1.png", "too large")


def test_zip_that_is_not_a_zip(tmp_path: Path):
    (tmp_path / "a.zip").write_bytes(b"not a zip at all")
    refuse(tmp_path / "a.zip", "a.zip is not a readable zip")


def test_truncated_zip(tmp_path: Path):
    path = write_zip(tmp_path / "a.zip", TREE)
    path.write_bytes(path.read_bytes()[:100])
    refuse(path, "a.zip is not a readable zip")


def test_zip_with_a_damaged_member(tmp_path: Path):
    path = write_zip(tmp_path / "a.zip", {"x/1.png": grey(1)})
    data = bytearray(path.read_bytes())
    data[len("x/1.png") + 30 + 20] ^= 0xFF  # inside of the stored member: its checksum fails
    path.write_bytes(bytes(data))
    refuse(path, "x/1.png cannot be unpacked")


def test_empty_zip(tmp_path: Path):
    refuse(write_zip(tmp_path / "a.zip", {}), "no class folders")


@pytest.mark.parametrize(
    "name", ["../x/1.png", "x/../../1.png", "/x/1.png", "C:/x/1.png", "x\\..\\..\\1.png"]
)
def test_zip_names_that_point_outside(tmp_path: Path, name: str):
    path = write_zip(tmp_path / "a.zip", TREE | {name: grey(1)})
    refuse(path, "points outside of the zip", repr(name))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path: Path):
    write_tree(tmp_path, TREE)
    (tmp_path / "cat/1.png").chmod(0)
    refuse(tmp_path, "cannot read", "1.png")


def test_file_that_cannot_be_read(tmp_path: Path):
    write_tree(tmp_path, TREE)
    (tmp_path / "cat/0.png").symlink_to(tmp_path / "gone.png")
    refuse(tmp_path, "cannot read", "0.png")
