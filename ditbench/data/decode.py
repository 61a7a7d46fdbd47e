"""One file to pixels, by PIL. Torch-free and numpy-free: a process for nothing else starts fast."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image, UnidentifiedImageError

from ditbench.data.archive import MAX_FILE_BYTES, shown
from ditbench.errors import DitbenchError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SIDE = 4096  # pixels; a file that declares more is a mistake or a decompression bomb
MODES = ("L", "RGB")
# Only formats that PIL decodes by itself: EPS, for one, would start Ghostscript on the file.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM", "TIFF")
# PIL logs what it finds odd, which without a handler would go to stderr beside our one line.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class Picture(NamedTuple):
    """The pixels of one image.

    Attributes:
        shape: (H, W) of a grey image, (H, W, 3) of an RGB one.
        pixels: a byte each, row by row.
    """

    shape: tuple[int, ...]
    pixels: bytes


def decode(where: str, data: bytes) -> Picture:
    """The pixels of one file; its header is judged before any decoding.

    Args:
        where: what an error calls the file.
        data: its content.

    Raises:
        DitbenchError: not a whole image in one of `FORMATS`, a moving one, sides beyond `MAX_SIDE`,
            neither grey (L) nor RGB.
    """
    if len(data) > MAX_FILE_BYTES:
        raise _too_large(where, f"{len(data)} bytes")
    try:
        with _bombs_are_errors(), Image.open(BytesIO(data), formats=FORMATS) as image:
            if max(image.size) > MAX_SIDE:
                raise _too_large(where, f"{image.width}x{image.height} pixels")
            _check_mode(where, image.mode)
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format != "MPO":  # a camera's JPEG with a preview beside it
                raise DitbenchError(
                    f"{where} is an animation or has pages: {frames} images in one file",
                    "save each image as a file of its own",
                )
            pixels = image.tobytes()
            _check_mode(where, image.mode)  # of some files it is known only now, and so is the size
            return Picture((image.height, image.width, *(3,) * (image.mode == "RGB")), pixels)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(where, "a decompression bomb") from error
    except DitbenchError:
        raise
    except Exception as error:  # PIL raises whatever a damaged file provokes, SyntaxError included
        no_image = isinstance(error, UnidentifiedImageError)
        reason = "is not an image" if no_image else "is damaged or cut short"
        raise DitbenchError(
            f"{where} {reason}", f"replace or remove it; readable: {', '.join(FORMATS)}"
        ) from error


def must_be_alike(
    where: str, shape: tuple[int, ...], first: str, expected: tuple[int, ...]
) -> None:
    """Refuse an image that differs from the first one in size or mode.

    Args:
        where: what the error calls the image.
        shape: of `Picture`.
        first: the name of the first image.
        expected: its shape.

    Raises:
        DitbenchError: the two shapes differ.
    """
    if shape[:2] != expected[:2]:
        raise DitbenchError(
            f"{where} is {shape[1]}x{shape[0]}, but {shown(first)} is {expected[1]}x{expected[0]}",
            "scale or crop all images to one size (width x height)",
        )
    if shape != expected:
        raise DitbenchError(
            f"{where} is {'RGB' if len(shape) == 3 else 'grey (L)'}, but {shown(first)} is not",
            "convert all images to RGB, or all to L",
        )


def _check_mode(where: str, mode: str) -> None:
    if mode not in MODES:
        raise DitbenchError(
            f"{where} is an image of mode {mode}, expected L (grey) or RGB",
            "convert the images to RGB, as with PIL: image.convert('RGB').save(...)",
        )


@contextmanager
def _bombs_are_errors() -> Iterator[None]:
    """PIL only warns, on stderr, of an image of 90 to 180 million pixels.

    What else it warns of, such as odd metadata, does not change the pixels.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _too_large(where: str, size: str) -> DitbenchError:
    return DitbenchError(
        f"{where} is too large: {size}", f"images may be up to {MAX_SIDE}x{MAX_SIDE}: scale it down"
    )
