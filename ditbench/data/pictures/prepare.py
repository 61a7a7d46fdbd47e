"""One picture, of any size and mode, as the pixels of an image: 8-bit grey or RGB. Torch-free."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from io import BytesIO
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageColor, ImageOps, UnidentifiedImageError

from ditbench.data.io.limits import MAX_FILE_BYTES, MAX_SIDE, too_large
from ditbench.data.pictures.settings import Settings
from ditbench.errors import DitbenchError

MODES = ("L", "RGB")
GREY_MODES = ("L", "1", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N")
ALPHA_MODES = ("LA", "PA", "RGBA", "RGBa")
# Only formats that Pillow decodes itself: for EPS it would start Ghostscript on the file.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM", "TIFF", "AVIF")
REPLACE = f"replace it, or move it out of the folder; supported formats: {', '.join(FORMATS)}"
# Without a handler, Pillow's log messages about unusual files would be printed, too.
logging.getLogger("PIL").addHandler(logging.NullHandler())
RESAMPLE = Image.Resampling.BICUBIC  # antialiased: Pillow widens the filter when it shrinks


class NotAPicture(DitbenchError):  # noqa: N818 (named by what is known of the file)
    """Pillow recognizes no format in a file."""


@dataclass(frozen=True)
class Picture:
    """The pixels of one picture, (C, H, W), and what was done to it, in words after a number."""

    pixels: NDArray[np.uint8]
    done: tuple[str, ...]


def prepare(image: Image.Image, where: str, settings: Settings, place: float = 0.5) -> Picture:
    """The pixels of a picture whose header is read; `where` names it in errors.

    Without an image size, grey (L) and RGB pictures keep exactly their pixels. With it, the largest
    square is cut out at `place`, from 0 (left or top) to 1, and resized. Raises a DitbenchError if
    it is damaged, its values have no known range, or its sides are beyond the limits.
    """
    done, N = conversions_of(image, where, settings), settings.image_size
    try:
        if N is not None:
            # JPEG decodes at 1/2, 1/4 or 1/8 of its size, where that leaves twice what is needed.
            image.draft(None, (2 * N, 2 * N))
            image = ImageOps.exif_transpose(image)
        image.load()
        image = to_8_bits(image, where, settings)
        if N is not None:
            image = square(image, N, place)
    except DitbenchError:
        raise
    except Exception as error:  # for a damaged file Pillow raises anything, even SyntaxError
        raise _damaged(where) from error
    return Picture(np.atleast_3d(np.asarray(image)).transpose(2, 0, 1), done)


def open_picture(data: bytes, where: str) -> Image.Image:
    """The picture in the bytes of a file, at most `MAX_FILE_BYTES`; raises as `opened`."""
    if len(data) > MAX_FILE_BYTES:
        raise too_large(where, f"more than {MAX_FILE_BYTES} bytes")
    return opened(BytesIO(data), where)


def opened(file: IO[bytes], where: str) -> Image.Image:
    """A picture of which only the header is read; NotAPicture, or a DitbenchError if damaged."""
    try:
        return Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise too_large(where, "a decompression bomb") from error
    except UnidentifiedImageError as error:
        raise NotAPicture(f"{where} is not an image", REPLACE) from error
    except Exception as error:
        raise _damaged(where) from error


def conversions_of(image: Image.Image, where: str, settings: Settings) -> tuple[str, ...]:
    """What is done to a picture, from its header: words after a number. Limits are checked."""
    resized, mode = settings.image_size is not None, image.mode
    if not resized and max(image.size) > MAX_SIDE:
        raise too_large(where, f"{image.width}x{image.height} pixels")
    try:
        done = [_of_mode(mode)] if mode not in MODES else []
        if transparent(image, resized=resized):
            done.append(f"transparent flattened over {settings.background}")
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # MPO: JPEG with a preview
            done.append("animated or of several pages: the first is taken")
        if turn_of(image) > 1:
            done.append("rotated by EXIF" if resized else "not rotated: EXIF needs an image size")
        if resized and min(image.size) < (settings.image_size or 0):
            done.append(f"enlarged to {settings.image_size}")
    except Exception as error:  # damaged metadata raises anything
        raise _damaged(where) from error
    return tuple(text for text in done if text)


def _of_mode(mode: str) -> str:
    if mode in ("P", "PA"):
        return "palette made RGB"
    if mode in ALPHA_MODES:
        return ""  # it is said that they are flattened
    if mode == "1":
        return "black and white made grey"
    return "of 16 bits made 8" if mode in GREY_MODES else f"{mode} made RGB"


def turn_of(image: Image.Image) -> int:
    """The orientation in which EXIF says that the picture is to be shown; 1 is as it is."""
    if image.format == "PNG" and not any("exif" in str(key) for key in image.info):
        return 1  # Pillow would decode the pixels to look behind them
    turn = image.getexif().get(ExifTags.Base.Orientation, 1)
    return turn if turn in range(2, 9) else 1


def transparent(image: Image.Image, *, resized: bool = True) -> bool:
    """Whether a picture has an alpha channel or a transparent colour."""
    if not resized and image.mode in MODES:  # earlier runs kept their pixels
        return False
    if image.mode in ALPHA_MODES:
        return True
    return "transparency" in image.info and not image.mode.startswith("I")


def to_8_bits(image: Image.Image, where: str, settings: Settings) -> Image.Image:
    """A picture in one of `MODES`: grey (L) if it has no colour by its mode, else RGB."""
    mode = image.mode
    grey = mode in GREY_MODES
    if transparent(image, resized=settings.image_size is not None):
        colour = ImageColor.getrgb(settings.background)[:3]
        behind = Image.new("RGBA", image.size, colour)
        image = Image.alpha_composite(behind, image.convert("RGBA")).convert("RGB")
        return image.convert("L") if grey and len({*colour}) == 1 else image
    if mode in MODES:
        return image
    if mode == "I" or mode.startswith("I;16"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65_535:
            raise DitbenchError(f"{where} has 32 bits per pixel", "save it with 8 or 16 bits")
        return Image.fromarray(np.rint(values * (255 / 65_535)).astype(np.uint8))
    if mode in ("F", "LAB"):
        what = "floats" if mode == "F" else "Lab colours"
        raise DitbenchError(f"{where} holds {what}: mode {mode}", "save it as RGB with 8 bits")
    return image.convert("L" if grey else "RGB")


def square(image: Image.Image, size: int, place: float = 0.5) -> Image.Image:
    """The largest square of a picture at a place, resized; without resizing, exact pixels."""
    side = min(image.size)
    left, top = (int((length - side) * place) for length in image.size)
    box = (left, top, left + side, top + side)
    return image.crop(box) if side == size else image.resize((size, size), RESAMPLE, box)


def check_background(background: str) -> None:
    """Raise a DitbenchError unless Pillow knows the colour."""
    try:
        ImageColor.getrgb(background)
    except ValueError as error:
        what = f"background '{background}' is not a colour"
        raise DitbenchError(what, "name one, or write it as #ffffff") from error


def _damaged(where: str) -> DitbenchError:
    return DitbenchError(f"{where} is damaged or cut short", REPLACE)
