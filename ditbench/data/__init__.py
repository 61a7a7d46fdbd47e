"""Data sets as uint8 images and labels in memory.

A library of its own: it knows nothing of runs, models or configurations. This file is the
registry; it imports torch only when a data set is loaded, so that names can be listed and checked
at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Literal, NamedTuple

from ditbench.data.archive import shown
from ditbench.errors import DitbenchError, unknown_name

if TYPE_CHECKING:
    from pathlib import Path

    from ditbench.data.dataset import ImageDataset


class _Loader(NamedTuple):
    """Where a loader lies, and whether it is called with a path."""

    module: str  # of this package
    function: str
    path: Literal["none", "optional", "required"]


_LOADERS = {
    "digits": _Loader("digits", "load_digits", "none"),
    "cifar10": _Loader("published", "load_cifar10", "optional"),
    "fashion-mnist": _Loader("published", "load_fashion_mnist", "optional"),
    "folder": _Loader("folder", "load_folder", "required"),
    "npz": _Loader("npz", "load_npz", "required"),
}


def dataset_names() -> tuple[str, ...]:
    """The names that `load_dataset` knows; the first is the default."""
    return tuple(_LOADERS)


def loader_of(path: Path) -> str:
    """The name of the data set that a path stands for, by its suffix; nothing is looked at."""
    return "npz" if path.suffix.lower() == ".npz" else "folder"


def load_dataset(name: str, path: Path | None = None) -> ImageDataset:
    """Load a data set by name.

    Args:
        name: one of `dataset_names()`.
        path: the folder or zip of `folder`, the file of `npz`, the folder in which the files of
            `cifar10` and `fashion-mnist` lie or will lie (by default in the cache); a built-in data
            set takes none.

    Raises:
        DitbenchError: `name` is unknown (the hint offers the nearest one); a path is missing, or
            given to a data set that takes none; what the loader itself refuses.
    """
    if name not in _LOADERS:
        raise unknown_name("data set", name, _LOADERS)
    loader = _LOADERS[name]
    if path is None and loader.path == "required":
        raise DitbenchError(
            f"data set '{name}' needs a path",
            "name a folder or zip of class folders of images, or an .npz: --data PATH",
        )
    if path is not None and loader.path == "none":
        raise DitbenchError(
            f"data set '{name}' is built in and takes no path, got {shown(path)}",
            "for images of your own: --data PATH, or --set data.name=folder with data.path",
        )
    load = getattr(import_module(f"{__name__}.{loader.module}"), loader.function)
    dataset: ImageDataset = load() if path is None else load(path)
    return dataset
