"""A folder or a zip file of class folders of images.

    animals/cat/1.png  animals/cat/2.png  animals/dog/1.png      (or animals.zip of the same)

Classes and files are taken in the order of their names, so that equal trees give equal data sets.
"""

from __future__ import annotations

import logging
import os
import warnings
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from ditbench.data.archive import MAX_FILE_BYTES, FolderFiles, ZipFiles, shown
from ditbench.data.dataset import ImageDataset
from ditbench.errors import DitbenchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

MAX_SIDE = 4096  # pixels; a file that declares more is a mistake or a decompression bomb
MODES = ("L", "RGB")
# Only formats that PIL decodes by itself: EPS, for one, would start Ghostscript on the file.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM", "TIFF")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff")
# PIL logs what it finds odd, which without a handler would go to stderr beside our one line.
logging.getLogger("PIL").addHandler(logging.NullHandler())
LAYOUT = "expected one folder a class, images inside: PATH/cat/1.png PATH/dog/1.png"


def load_folder(path: Path) -> ImageDataset:
    """Load a folder or a zip of class folders; all images of one size, grey (L) or RGB.

    One folder around the class folders is looked through. Hidden files are passed over.

    Args:
        path: a folder, or a zip file of one; the data set bears its name.

    Returns:
        (N, C, H, W) uint8 with C = 1 or 3; classes and files sorted by name.

    Raises:
        DitbenchError: no such path, not a zip, no class folders or an empty one, a file that is
            not a whole image or a moving one, images of different sizes or modes, names in the zip
            that point outside it, sizes beyond `MAX_SIDE`, more than memory holds. The message
            names the file.
    """
    path = Path(path)
    if not _exists(path):
        raise DitbenchError(f"no such data: {shown(path)}", "check the path given to --data")
    with FolderFiles(path) if path.is_dir() else ZipFiles(path) as files:
        classes = _classes(path, files.names())
        members = [(label, name) for label, names in enumerate(classes.values()) for name in names]
        pixels: NDArray[np.uint8] | None = None  # (N, H, W) or (N, H, W, 3)
        for index, (_, name) in enumerate(members):
            where = f"{shown(path)}: {shown(name)}"
            image = _decode(where, files.read(name))
            if pixels is None:
                _check_memory(path, len(members), image)
                pixels = np.empty((len(members), *image.shape), np.uint8)
            if image.shape != pixels.shape[1:]:
                raise _unlike(where, image.shape, shown(members[0][1]), pixels.shape[1:])
            pixels[index] = image
    assert pixels is not None  # `_classes` has refused an empty tree
    images = torch.from_numpy(pixels.reshape(*pixels.shape[:3], -1))  # (N, H, W, C)
    return ImageDataset(
        name=path.stem,
        images=images.permute(0, 3, 1, 2).contiguous(),
        labels=torch.tensor([label for label, _ in members]),
        class_names=tuple(classes),
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or that the system cannot have
        return False


def _check_memory(path: Path, count: int, image: NDArray[np.uint8]) -> None:
    """Refuse what cannot be held: small files can unfold to images of any size, many times over."""
    needed = 2 * count * image.nbytes  # once more while the channels are brought to the front
    if needed > _memory():
        height, width = image.shape[:2]
        raise DitbenchError(
            f"{shown(path)} is too large: {count} images of {width}x{height} take "
            f"{needed / 2**30:.1f} GiB, this machine has {_memory() / 2**30:.1f}",
            "scale the images down, or use fewer",
        )


def _memory() -> int:
    """The bytes of memory that the machine has."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # a system that does not tell
        return 2**63


def _classes(path: Path, names: Iterable[str]) -> dict[str, list[str]]:
    """Group the names by class folder, both sorted; a name that ends in `/` is a folder."""
    tree = sorted((PurePosixPath(name).parts, name) for name in names if not _hidden(name))
    depth = _depth(tree)
    classes: dict[str, list[str]] = {}
    for parts, name in tree:
        inner = parts[depth:]
        if name.endswith("/"):
            if len(inner) == 1:
                classes.setdefault(inner[0], [])
        elif len(inner) == 2:
            classes.setdefault(inner[0], []).append(name)
        elif len(inner) > 2 or _looks_like_an_image(name):
            # A README beside the class folders may stay; an image there belongs to no class.
            raise DitbenchError(
                f"{shown(path)}: {shown(name)} does not lie in a class folder", LAYOUT
            )
    if not any(classes.values()):
        raise DitbenchError(f"{shown(path)} holds no class folders with images", LAYOUT)
    for label, members in classes.items():
        if not members:
            raise DitbenchError(
                f"{shown(path)}: class folder {shown(label)} is empty",
                "put images into it, or remove it",
            )
    return classes


def _depth(tree: list[tuple[tuple[str, ...], str]]) -> int:
    """1 where a single folder lies around the class folders, as many zips have it, else 0."""
    files = [(parts, name) for parts, name in tree if not name.endswith("/") and len(parts) > 1]
    one_top = len({parts[0] for parts, _ in files}) == 1
    nested = any(len(parts) > 2 for parts, _ in files)
    images_on_top = any(len(parts) == 2 and _looks_like_an_image(name) for parts, name in files)
    return int(one_top and nested and not images_on_top)


def _looks_like_an_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def _hidden(name: str) -> bool:
    """What file managers leave behind: .DS_Store, ._1.png, __MACOSX/, Thumbs.db, desktop.ini."""
    parts = PurePosixPath(name).parts
    litter = ("thumbs.db", "desktop.ini", "__macosx")
    return any(part.startswith(".") or part.lower() in litter for part in parts)


def _decode(where: str, data: bytes) -> NDArray[np.uint8]:
    """The pixels of one file, (H, W) or (H, W, 3); the header is judged before any decoding."""
    if len(data) > MAX_FILE_BYTES:
        raise _too_large(where, f"{len(data)} bytes")
    try:
        with _bombs_are_errors(), Image.open(BytesIO(data), formats=FORMATS) as image:
            if max(image.size) > MAX_SIDE:
                raise _too_large(where, f"{image.width}x{image.height} pixels")
            if image.mode not in MODES:
                raise DitbenchError(
                    f"{where} is an image of mode {image.mode}, expected L (grey) or RGB",
                    "convert the images to RGB, as with PIL: image.convert('RGB').save(...)",
                )
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format != "MPO":  # a camera's JPEG with a preview beside it
                raise DitbenchError(
                    f"{where} is an animation or has pages: {frames} images in one file",
                    "save each image as a file of its own",
                )
            return np.asarray(image)
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


def _unlike(
    where: str, shape: tuple[int, ...], first: str, expected: tuple[int, ...]
) -> DitbenchError:
    """The error for an image that differs from the first one in size or mode."""
    if shape[:2] != expected[:2]:
        return DitbenchError(
            f"{where} is {shape[1]}x{shape[0]}, but {first} is {expected[1]}x{expected[0]}",
            "scale or crop all images to one size (width x height)",
        )
    return DitbenchError(
        f"{where} is {'RGB' if len(shape) == 3 else 'grey (L)'}, but {first} is not",
        "convert all images to RGB, or all to L",
    )
