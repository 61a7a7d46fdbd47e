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
    "folder": _Loader("folder", "load_folder", "required"),
}


def dataset_names() -> tuple[str, ...]:
    """The names that `load_dataset` knows; the first is the default."""
    return tuple(_LOADERS)


def load_dataset(name: str, path: Path | None = None) -> ImageDataset:
    """Load a data set by name.

    Args:
        name: one of `dataset_names()`.
        path: the folder or zip of `folder`; a built-in data set takes none.

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
            "name a folder or zip of class folders of images: --data PATH",
        )
    if path is not None and loader.path == "none":
        raise DitbenchError(
            f"data set '{name}' is built in and takes no path, got {shown(path)}",
            "for images of your own: --set data.name=folder --data PATH",
        )
    load = getattr(import_module(f"{__name__}.{loader.module}"), loader.function)
    dataset: ImageDataset = load() if path is None else load(path)
    return dataset
