"""A folder or zip of class folders of images: animals/cat/1.png, animals/dog/1.png, ..."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import torch

from ditbench.data.class_names import natural
from ditbench.data.dataset import ImageDataset
from ditbench.data.io.decode import load_pixels
from ditbench.data.io.files import Files, ZipFiles, ignored, must_exist, shown
from ditbench.errors import DitbenchError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff")
LAYOUT = "expected one folder per class, and no image beside them: PATH/cat/1.png PATH/dog/1.png"


def load_folder(path: Path) -> ImageDataset:
    """Load a folder or a zip of class folders; all images of one size, grey (L) or RGB.

    Classes and files are sorted by name, so that equal trees are equal data sets; numbers in the
    names of classes by value. One folder around the class folders is allowed. Hidden files are
    ignored. The pixels of many images are cached. The name of the folder or zip names the data set.

    Raises:
        DitbenchError: no such path, not a zip, no class folders or an empty one, a file that is not
            a complete still image, images of different sizes or modes, names in the zip that point
            outside of it, sizes beyond `MAX_SIDE`, more than memory holds. The message names
            the file, the first in order of names.
    """
    path = Path(path)
    must_exist(path)
    with Files(path) if path.is_dir() else ZipFiles(path) as files:
        classes = _classes(path, files.names())
        images = load_pixels(files, [name for names in classes.values() for name in names])
    labels = torch.tensor([label for label, names in enumerate(classes.values()) for _ in names])
    return ImageDataset(path.name.removesuffix(".zip"), images, labels, tuple(classes))


def _classes(path: Path, names: Iterable[str]) -> dict[str, list[str]]:
    """Group the names by class folder, both in order; a name that ends in `/` is a folder."""
    tree = sorted((PurePosixPath(name).parts, name) for name in names if not ignored(name))
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
            # A README beside the class folders is allowed; an image there has no class.
            raise DitbenchError(f"{shown(path)}: {shown(name)} is not in a class folder", LAYOUT)
    if not any(classes.values()):
        raise DitbenchError(f"{shown(path)} holds no class folders with images", LAYOUT)
    for label, members in classes.items():
        if not members:
            what = f"{shown(path)}: class folder {shown(label)} is empty"
            raise DitbenchError(what, "add images to it, or remove it")
    return {label: classes[label] for label in sorted(classes, key=natural)}


def _depth(tree: list[tuple[tuple[str, ...], str]]) -> int:
    """1 if a single folder surrounds the class folders, as in many zips, else 0."""
    files = [(parts, name) for parts, name in tree if not name.endswith("/") and len(parts) > 1]
    one_top = len({parts[0] for parts, _ in files}) == 1
    nested = any(len(parts) > 2 for parts, _ in files)
    images_on_top = any(len(parts) == 2 and _looks_like_an_image(name) for parts, name in files)
    return int(one_top and nested and not images_on_top)


def _looks_like_an_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
