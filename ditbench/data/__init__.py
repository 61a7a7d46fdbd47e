"""Data sets: images and labels in memory.

This file is the registry. A new source is a file with a function that returns an `ImageDataset`,
and a line in `SOURCES`. Torch is imported when a data set is loaded: names are listed fast.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ditbench.data.io.files import shown
from ditbench.errors import DitbenchError, unknown_name

if TYPE_CHECKING:
    from ditbench.data.dataset import ImageDataset

SOURCES = {  # name -> module of this package, function, and whether it takes a path
    "digits": ("digits", "load_digits", "none"),
    "cifar10": ("published", "load_cifar10", "optional"),
    "fashion-mnist": ("published", "load_fashion_mnist", "optional"),
    "folder": ("folder", "load_folder", "required"),
    "npz": ("npz", "load_npz", "required"),
}


def loader_of(path: Path) -> str:
    """The name of the data set for a path, by its suffix alone; the file is not opened."""
    return "npz" if path.suffix.lower() == ".npz" else "folder"


def load_dataset(name: str, path: Path | None = None) -> ImageDataset:
    """Load a data set by name.

    `path` is the folder or zip of `folder`, or the file of `npz`; for `cifar10` and `fashion-mnist`
    the folder with their files, by default in the cache; None for `digits`.

    Raises:
        DitbenchError: `name` is unknown (the hint suggests the nearest one); a path is missing or
            not accepted; or the data cannot be loaded.
    """
    if name not in SOURCES:
        raise unknown_name("data set", name, SOURCES)
    module, function, takes_path = SOURCES[name]
    if path is None and takes_path == "required":
        raise DitbenchError(
            f"data set '{name}' needs a path",
            "pass a folder or zip of class folders of images, or an .npz: --data PATH",
        )
    if path is not None and takes_path == "none":
        raise DitbenchError(
            f"data set '{name}' is built in and takes no path, got {shown(path)}",
            "for images of your own: --data PATH, or --set data.name=folder with data.path",
        )
    load = getattr(import_module(f"{__name__}.{module}"), function)
    dataset: ImageDataset = load() if path is None else load(path)
    return dataset
