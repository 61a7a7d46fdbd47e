"""One picture: what comes out, against formulas and torchvision."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import encode, forged_png
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from ditbench.data.pictures.prepare import check_background, open_picture, prepare, square
from ditbench.data.pictures.settings import Settings
from ditbench.errors import DitbenchError

DRAWS = np.random.default_rng(0)
RGB = DRAWS.integers(0, 256, (9, 12, 3), np.uint8)
GREY = RGB[..., 0]


def read(data, size=None, place=0.5, **settings):
    picture = prepare(open_picture(data, "x"), "x", Settings(image_size=size, **settings), place)
    return picture.pixels.transpose(1, 2, 0).squeeze(), picture.done


@pytest.mark.parametrize("pixels", [GREY, RGB], ids=["grey", "RGB"])
def test_without_a_size_pixels_stay_as_they_are(pixels):
    found, done = read(encode(pixels))
    assert np.array_equal(found, pixels)
    assert done == ()


def test_a_picture_of_the_size_keeps_its_pixels():
    assert np.array_equal(read(encode(RGB[:, :9]), 9)[0], RGB[:, :9])


@pytest.mark.parametrize(("place", "left"), [(0, 0), (0.5, 1), (1, 3)])
def test_the_longer_side_is_cropped(place, left):
    assert np.array_equal(read(encode(RGB), 9, place)[0], RGB[:, left : left + 9])
    across = RGB.transpose(1, 0, 2).copy()
    assert np.array_equal(read(encode(across), 9, place)[0], across[left : left + 9])


def test_resizing_agrees_with_torchvision():
    smooth = Image.fromarray(DRAWS.integers(0, 256, (8, 12, 3), np.uint8)).resize((192, 128))
    expected = F.center_crop(F.resize(smooth, 32, InterpolationMode.BICUBIC), [32, 32])
    found = np.asarray(square(smooth, 32)).astype(int)
    # At the edges, torchvision's filter sees what is cut off.
    assert np.abs(found - np.asarray(expected))[:, 3:-3].max() <= 1


def test_a_large_jpeg_that_is_decoded_small_shows_the_same():
    smooth = Image.fromarray(DRAWS.integers(0, 256, (8, 8, 3), np.uint8)).resize((512, 512))
    data = encode(np.asarray(smooth), "JPEG", quality=98, subsampling=0)
    found = read(data, 32)[0].astype(int)
    assert np.abs(found - np.asarray(square(smooth, 32))).mean() < 2


def test_transparency_is_blended_with_the_background():
    pixels = DRAWS.integers(0, 256, (9, 12, 4), np.uint8)
    found, done = read(encode(pixels), background="#0000ff")
    alpha = pixels[..., 3:] / 255
    expected = pixels[..., :3] * alpha + np.array([0, 0, 255]) * (1 - alpha)
    assert np.abs(found - expected).max() <= 1
    assert done == ("transparent flattened over #0000ff",)


def test_grey_with_alpha_stays_grey_over_white():
    found, done = read(encode(DRAWS.integers(0, 256, (9, 12, 4), np.uint8), mode="LA"))
    assert found.shape == (9, 12)
    assert done == ("transparent flattened over white",)


def test_a_palette_with_a_transparent_colour():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=1)
    found, done = read(buffer.getvalue())
    assert found.tolist() == [[10, 20, 30], [255, 255, 255]]
    assert done == ("palette made RGB", "transparent flattened over white")


def test_16_bits_keep_what_they_show():
    values = np.arange(0, 65_536, 683, np.uint16)[:96].reshape(8, 12)
    found, done = read(encode(values))
    assert np.array_equal(found, np.rint(values / 257))
    assert done == ("of 16 bits made 8",)


def test_cmyk():
    cmyk = np.zeros((16, 16, 4), np.uint8)
    cmyk[..., 0], cmyk[..., 3] = 255, 51  # cyan, and a fifth of black
    buffer = io.BytesIO()
    Image.fromarray(cmyk, "CMYK").save(buffer, "TIFF")
    found, done = read(buffer.getvalue())
    assert np.abs(found.astype(int) - [0, 204, 204]).max() <= 1
    assert done == ("CMYK made RGB",)


def test_black_and_white():
    found, done = read(encode(RGB, mode="1"))
    assert {*found.flatten().tolist()} <= {0, 255}
    assert done == ("black and white made grey",)


TURNS = {
    2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1), 6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1), 8: np.rot90,
}  # fmt: skip


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("turn", TURNS)
def test_exif_orientation(turn, kind):
    exif = Image.Exif()
    exif[0x0112] = turn
    pixels = np.full((16, 16, 3), 255, np.uint8)
    pixels[:8, :4] = 0
    data = encode(pixels, kind, exif=exif)
    found, done = read(data, 16)
    assert np.abs(found.astype(int) - TURNS[turn](pixels)).mean() < 20
    assert done == ("rotated by EXIF",)
    as_stored, done = read(data)  # as earlier runs read it
    assert np.abs(as_stored.astype(int) - pixels).mean() < 20
    assert done == ("not rotated: EXIF needs an image size",)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF"])
def test_the_first_frame_counts(kind):
    frames = [Image.fromarray(np.full((6, 5), value, np.uint8)) for value in (7, 90)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    found, done = read(buffer.getvalue())
    assert (found.reshape(30, -1) == 7).all()
    assert "animated or of several pages: the first is taken" in done


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 24), st.floats(0, 1))
def test_any_shape_becomes_a_square(height, width, size, place):
    value = height + width
    found, done = read(encode(np.full((height, width), value, np.uint8)), size, place)
    assert np.array_equal(np.broadcast_to(found, (size, size)), np.full((size, size), value))
    assert done == ((f"enlarged to {size}",) if min(height, width) < size else ())


def test_a_photograph_beyond_4096_needs_a_size():
    data = encode(np.zeros((1, 5_000), np.uint8))
    with pytest.raises(DitbenchError, match="too large: 5000x1"):
        read(data)
    assert read(data, 1)[0] == 0


def test_a_bomb_is_refused_before_it_is_decoded():
    with pytest.raises(DitbenchError, match="a decompression bomb"):
        read(forged_png(20_000, 20_000), 64)


@pytest.mark.parametrize("background", ["whitish", "#12", ""])
def test_a_background_that_is_no_colour(background):
    with pytest.raises(DitbenchError, match="is not a colour"):
        check_background(background)
