"""Image files to pixels, by Pillow; the pixels of many files are cached on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ditbench.data.io import conversions
from ditbench.data.io.files import MAX_FILE_BYTES, MAX_SIDE, Files, check_memory, shown, too_large
from ditbench.data.io.tensors import read_tensors, write_tensors
from ditbench.errors import DitbenchError
from ditbench.files import cache_directory

MODES = ("L", "RGB")
# Only formats that Pillow decodes itself: for EPS it would start Ghostscript on the file.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM", "TIFF")
# Without a handler, Pillow's log messages about unusual files would be printed, too.
logging.getLogger("PIL").addHandler(logging.NullHandler())
# Incremented when the same files give other pixels than before.
REVISION = 1
# For fewer files and fewer bytes of pixels, a cache saves too little time.
MIN_FILES = 4_000
MIN_BYTES = 64 * 2**20
# A larger cache could fill a home directory.
MAX_BYTES = 8 * 2**30


def load_pixels(files: Files, names: Sequence[str]) -> Tensor:
    """The pixels of all images, (N, C, H, W) uint8; see `decode_all`, whose errors it raises."""
    # The key is made before the files are read: if one changes later, the next call decodes again.
    entry = _cache_entry(files, names)
    if entry and (cached := read_tensors(*entry)):
        return cached["images"]
    images = torch.from_numpy(decode_all(files, names))
    many = len(images) >= MIN_FILES or (len(images) > 1 and images.nbytes >= MIN_BYTES)
    if entry and many and images.nbytes <= MAX_BYTES:
        write_tensors(*entry, {"images": images})
    return images


def _cache_entry(files: Files, names: Sequence[str]) -> tuple[Path, dict[str, str]] | None:
    """The path of the cache and its key, a SHA-256 over what pixels depend on; None without one."""
    directory = cache_directory()
    if directory is None:
        return None
    paths = [files.path / name for name in names] if files.path.is_dir() else [files.path]
    try:
        found = [path.stat() for path in paths]
    except OSError:
        return None
    # Programs can set the modification time, but not the time of the last change.
    stamps = [(status.st_size, status.st_mtime_ns, status.st_ctime_ns) for status in found]
    place = str(files.path.absolute())
    facts = json.dumps([REVISION, PIL.__version__, place, list(names), stamps])
    name = hashlib.sha256(place.encode(errors="surrogateescape")).hexdigest()[:16]
    key = {"key": hashlib.sha256(facts.encode()).hexdigest()}
    return directory / f"images-{name}.safetensors", key


def decode_all(files: Files, names: Sequence[str]) -> NDArray[np.uint8]:
    """Decode one or more images of one size and mode: (N, C, H, W), C = 1 (grey) or 3 (RGB).

    Raises:
        DitbenchError: for the first file that cannot be decoded or differs from the first image, or
            if all of them do not fit into memory.
    """
    with warnings.catch_warnings():
        # Of metadata, which does not change pixels, and of large images, which are refused.
        warnings.simplefilter("ignore")
        first = _decode(files, names[0])
        check_memory(shown(files.path), len(names), first.shape)
        images = np.empty((len(names), *first.shape), np.uint8)
        for index, name in enumerate(names):
            image = _decode(files, name)
            if image.shape != first.shape:
                raise _unlike(files.where(name), image, shown(names[0]), first)
            images[index] = image
    return images


def _decode(files: Files, name: str) -> NDArray[np.uint8]:
    """Decode one image, (C, H, W); its declared size and mode are checked before decoding."""
    where, data = files.where(name), files.read(name)
    if len(data) > MAX_FILE_BYTES:
        raise too_large(where, f"more than {MAX_FILE_BYTES} bytes")
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            if max(image.size) > MAX_SIDE:
                raise too_large(where, f"{image.width}x{image.height} pixels")
            _check_mode(where, image.mode)
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format != "MPO":  # a camera's JPEG with a preview
                raise DitbenchError(
                    f"{where} has {frames} images in one file: it is an animation or has pages",
                    "save each image as a file of its own",
                )
            image.load()
            _check_mode(where, image.mode)  # some files reveal it only now
            return np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)
    except Image.DecompressionBombError as error:
        raise too_large(where, "a decompression bomb") from error
    except DitbenchError:
        raise
    except Exception as error:  # for a damaged file Pillow raises anything, even SyntaxError
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "is not an image" if unknown else "is damaged or cut short"
        raise DitbenchError(
            f"{where} {reason}",
            f"replace it, or move it out of the folder; supported formats: {', '.join(FORMATS)}",
        ) from error


def _check_mode(where: str, mode: str) -> None:
    if mode not in MODES:
        raise DitbenchError(
            f"{where} is an image of mode {mode}, expected L (grey) or RGB",
            conversions.of_mode(mode),
        )


def _unlike(
    where: str, image: NDArray[np.uint8], first_name: str, first: NDArray[np.uint8]
) -> DitbenchError:
    """The error for an image whose size or mode is not that of the first one."""
    size, first_size = (f"{W}x{H}" for _, H, W in (image.shape, first.shape))
    mode, first_mode = ("RGB" if len(x) == 3 else "L" for x in (image, first))
    if size != first_size:
        return DitbenchError(
            f"{where} is {size}, but {first_name} is {first_size}",
            "scale or crop all images to one size (width x height)",
        )
    return DitbenchError(
        f"{where} is {mode}, but {first_name} is {first_mode}",
        "convert the grey images to RGB: image.convert('RGB')",
    )
