import io

import numpy as np
import pytest
from pictures import encode, write_folder, write_zip
from PIL import Image

from ditbench.data.io.files import open_files
from ditbench.data.pictures import prepare
from ditbench.data.pictures.decode import FilePictures, decode_all
from ditbench.errors import DitbenchError

NAMES = [f"x/{number:03}.png" for number in range(20)]
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 5, 6, 3), np.uint8)
GOOD = dict(zip(NAMES, map(encode, PIXELS), strict=True))


def decoded(path, names):
    with open_files(path) as files:
        return decode_all(FilePictures(files), names).pixels


@pytest.mark.parametrize("pack", [write_folder, write_zip], ids=["folder", "zip"])
def test_the_pixels_that_were_written_come_back_in_the_order_of_names(tmp_path, pack):
    images = decoded(pack(tmp_path / "data", GOOD), NAMES[::-1])
    assert np.array_equal(images, PIXELS[::-1].transpose(0, 3, 1, 2))
    assert images.flags.c_contiguous


BAD = {"text": b"hello", "cut short": GOOD[NAMES[0]][:-40], "of other size": encode(PIXELS[0, :3])}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("first", [1, 7, len(NAMES) - 1])
def test_the_first_bad_file_is_named(tmp_path, kind, first):
    write_folder(tmp_path, GOOD | dict.fromkeys(NAMES[first:], BAD[kind]))
    with pytest.raises(DitbenchError, match=NAMES[first]):
        decoded(tmp_path, NAMES)


def test_jpeg(tmp_path):
    write_folder(tmp_path, {"x/1.JPG": encode(np.full((8, 8), 77, np.uint8), "JPEG")})
    images = decoded(tmp_path, ["x/1.JPG"])
    assert np.abs(images.astype(int) - 77).max() <= 1


def test_a_camera_s_jpeg_with_a_preview_is_one_image(tmp_path):
    photo, preview = (Image.fromarray(pixels) for pixels in PIXELS[:2])
    buffer = io.BytesIO()
    photo.save(buffer, "MPO", save_all=True, append_images=[preview])
    write_folder(tmp_path, {"x/1.jpg": buffer.getvalue()})
    assert decoded(tmp_path, ["x/1.jpg"]).shape == (1, 3, 5, 6)


def test_file_of_many_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "MAX_FILE_BYTES", 10)
    write_folder(tmp_path, GOOD)
    with pytest.raises(DitbenchError, match=f"{NAMES[0]} is too large"):
        decoded(tmp_path, NAMES)
