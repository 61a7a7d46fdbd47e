"""Data sets: images and labels in memory.

This package does not depend on runs, models or configurations. This file is the registry. A new
source is a file with a function that returns an `ImageDataset`, and a line in `_SOURCES`. The
registry imports torch only when a data set is loaded, so that names are listed fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Literal, NamedTuple

from ditbench.data.io.files import shown
from ditbench.errors import DitbenchError, unknown_name

if TYPE_CHECKING:
    from pathlib import Path

    from ditbench.data.dataset import ImageDataset


class _Source(NamedTuple):
    """The function that loads a data set, and whether it takes a path."""

    module: str  # of this package
    function: str
    path: Literal["none", "optional", "required"]


_SOURCES = {
    "digits": _Source("digits", "load_digits", "none"),
    "cifar10": _Source("published", "load_cifar10", "optional"),
    "fashion-mnist": _Source("published", "load_fashion_mnist", "optional"),
    "folder": _Source("folder", "load_folder", "required"),
    "npz": _Source("npz", "load_npz", "required"),
}


def dataset_names() -> tuple[str, ...]:
    """The names that `load_dataset` accepts; the first is the default."""
    return tuple(_SOURCES)


def loader_of(path: Path) -> str:
    """The name of the data set for a path, by its suffix alone; the file is not opened."""
    return "npz" if path.suffix.lower() == ".npz" else "folder"


def load_dataset(name: str, path: Path | None = None) -> ImageDataset:
    """Load a data set by name.

    Args:
        name: one of `dataset_names()`.
        path: the folder or zip of `folder`, or the file of `npz`; for `cifar10` and
            `fashion-mnist` the folder with their files, by default in the cache; None for `digits`.

    Raises:
        DitbenchError: `name` is unknown (the hint suggests the nearest one); a path is missing or
            not accepted; or the data cannot be loaded.
    """
    if name not in _SOURCES:
        raise unknown_name("data set", name, _SOURCES)
    source = _SOURCES[name]
    if path is None and source.path == "required":
        raise DitbenchError(
            f"data set '{name}' needs a path",
            "pass a folder or zip of class folders of images, or an .npz: --data PATH",
        )
    if path is not None and source.path == "none":
        raise DitbenchError(
            f"data set '{name}' is built in and takes no path, got {shown(path)}",
            "for images of your own: --data PATH, or --set data.name=folder with data.path",
        )
    load = getattr(import_module(f"{__name__}.{source.module}"), source.function)
    dataset: ImageDataset = load() if path is None else load(path)
    return dataset
