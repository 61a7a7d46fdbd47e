"""A folder or a zip file of class folders of images.

    animals/cat/1.png  animals/cat/2.png  animals/dog/1.png      (or animals.zip of the same)

Classes and files are taken in the order of their names, so that equal trees give equal data sets.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import torch

from ditbench.data.archive import must_exist, open_files, shown
from ditbench.data.dataset import ImageDataset
from ditbench.data.decode_many import Tree, decode_many, is_much
from ditbench.data.pixel_cache import cache_entry
from ditbench.errors import DitbenchError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff")
LAYOUT = "expected one folder a class, images inside: PATH/cat/1.png PATH/dog/1.png"


def load_folder(path: Path) -> ImageDataset:
    """Load a folder or a zip of class folders; all images of one size, grey (L) or RGB.

    One folder around the class folders is looked through. Hidden files are passed over. Many images
    are decoded by several processes, and their pixels are cached.

    Args:
        path: a folder, or a zip file of one; the data set bears its name.

    Returns:
        (N, C, H, W) uint8 with C = 1 or 3; classes and files sorted by name.

    Raises:
        DitbenchError: no such path, not a zip, no class folders or an empty one, a file that is
            not a whole image or a moving one, images of different sizes or modes, names in the zip
            that point outside it, sizes beyond `decode.MAX_SIDE`, more than memory holds. The
            message names the file, the first in order of names.
    """
    path = Path(path)
    must_exist(path)
    with open_files(path) as files:
        classes = _classes(path, files.names())
        tree = Tree(path, files, [name for names in classes.values() for name in names])
        images = _images(tree)
    labels = [label for label, names in enumerate(classes.values()) for _ in names]
    return ImageDataset(
        name=path.stem,
        images=images,
        labels=torch.tensor(labels),
        class_names=tuple(classes),
    )


def _images(tree: Tree) -> Tensor:
    """All images, (N, C, H, W) uint8, from the cache where it holds them."""
    entry = cache_entry(tree)
    known = entry.read() if entry else None
    if known is not None and len(known) == len(tree.names):
        return known
    pixels = torch.from_numpy(decode_many(tree))  # (N, H, W) or (N, H, W, 3)
    images = pixels.reshape(*pixels.shape[:3], -1).permute(0, 3, 1, 2).contiguous()
    del pixels
    if entry and is_much(len(images), images.nbytes):
        entry.write(images)
    return images


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
