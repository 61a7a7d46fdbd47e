from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pictures import encode, forged_png, grey, write_folder, write_zip
from PIL import Image
from refusal import refuse

from ditbench.data.io import decode
from ditbench.data.io.decode import decode_all
from ditbench.data.io.files import Files, ZipFiles

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [f"x/{number:03}.png" for number in range(20)]
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 5, 6, 3), np.uint8)
GOOD = dict(zip(NAMES, map(encode, PIXELS), strict=True))
TREE = {"cat/1.png": grey(1), "dog/1.png": grey(2)}


@pytest.mark.parametrize(
    ("pack", "kind"), [(write_folder, Files), (write_zip, ZipFiles)], ids=["folder", "zip"]
)
def test_the_pixels_that_were_written_come_back_in_the_order_of_names(tmp_path: Path, pack, kind):
    names = NAMES[::-1]
    with kind(pack(tmp_path / "data", GOOD)) as files:
        images = decode_all(files, names)
    assert np.array_equal(images, PIXELS[::-1].transpose(0, 3, 1, 2))
    assert images.flags.c_contiguous


BAD = {
    "text": b"hello",
    "cut short": GOOD[NAMES[0]][:-40],
    "of other size": encode(PIXELS[0, :3]),
    "grey": encode(PIXELS[0, ..., 0]),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("first", [1, 7, len(NAMES) - 1])
def test_the_first_bad_file_is_named(tmp_path: Path, kind, first):
    bad = dict.fromkeys(NAMES[first:], BAD[kind])
    refuse(write_folder(tmp_path, GOOD | bad), NAMES[first])


def test_jpeg(tmp_path: Path):
    write_folder(tmp_path, {"x/1.JPG": encode(np.full((8, 8), 77, np.uint8), "JPEG")})
    images = decode_all(Files(tmp_path), ["x/1.JPG"])
    assert np.abs(images.astype(int) - 77).max() <= 1


def test_not_an_image(tmp_path: Path):
    files = TREE | {"cat/notes.txt": b"hello"}
    refuse(write_folder(tmp_path, files), "cat/notes.txt", "not an image")


def test_postscript_is_never_passed_to_ghostscript(tmp_path: Path):
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n"
    refuse(write_folder(tmp_path, {"x/1.eps": eps}), "x/1.eps", "not an image")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP"])
def test_truncated(tmp_path: Path, kind: str):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    data = encode(noise, kind)
    refuse(write_folder(tmp_path, {"x/1.img": data[: len(data) // 2]}), "x/1.img")


@pytest.mark.parametrize("flip", [0, 5, 11, 14, 19, 24, 25, 30, 40, 45])
def test_damaged_png(tmp_path: Path, flip: int):
    data = bytearray(encode(np.full((4, 4, 3), 9, np.uint8)))
    data[flip] ^= 0xFF
    refuse(write_folder(tmp_path, {"x/1.png": bytes(data)}), "x/1.png")


def test_mixed_sizes(tmp_path: Path):
    files = TREE | {"eel/1.png": grey(1, 5, 6)}
    refuse(write_folder(tmp_path, files), "eel/1.png is 6x5", "cat/1.png is 6x4")


def test_mixed_modes(tmp_path: Path):
    files = TREE | {"eel/1.png": encode(np.zeros((4, 6, 3), np.uint8))}
    error = refuse(write_folder(tmp_path, files), "eel/1.png is RGB, but cat/1.png is L")
    assert "convert all images to RGB" in str(error.hint)


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA", "1", "I;16"])
def test_other_modes(tmp_path: Path, mode: str):
    if mode == "I;16":
        data = encode(np.zeros((4, 4), np.uint16))
    else:
        data = encode(np.zeros((4, 4, 3), np.uint8), mode=mode)
    error = refuse(write_folder(tmp_path, {"x/1.png": data}), "x/1.png", f"mode {mode}")
    assert "convert" in str(error.hint)


def test_a_camera_s_jpeg_with_a_preview_is_one_image(tmp_path: Path):
    photo, preview = (Image.fromarray(pixels) for pixels in PIXELS[:2])
    buffer = io.BytesIO()
    photo.save(buffer, "MPO", save_all=True, append_images=[preview])
    write_folder(tmp_path, {"x/1.jpg": buffer.getvalue()})
    assert decode_all(Files(tmp_path), ["x/1.jpg"]).shape == (1, 3, 5, 6)


@pytest.mark.parametrize("side", [4097, 10_000, 60_000])
@pytest.mark.filterwarnings("error")
def test_huge_declared_size_is_refused_before_decoding(tmp_path: Path, side: int):
    files = {"x/1.png": forged_png(side, side)}
    refuse(write_folder(tmp_path, files), "x/1.png", "too large")


def test_file_of_many_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decode, "MAX_FILE_BYTES", 10)
    refuse(write_folder(tmp_path, TREE), "cat/1.png", "too large")


def test_file_that_cannot_be_read(tmp_path: Path):
    write_folder(tmp_path, TREE)
    (tmp_path / "cat/0.png").symlink_to(tmp_path / "gone.png")
    refuse(tmp_path, "cannot read", "0.png")
