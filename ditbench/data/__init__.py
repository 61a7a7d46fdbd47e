"""Data sets: images and labels in memory, and latents on disk.

This file is the registry. A new source is a file with a function that returns an `ImageDataset`,
and a line in `SOURCES`. Torch is imported when a data set is loaded: names are listed fast.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ditbench.data.pictures.settings import DEFAULTS, Settings
from ditbench.errors import DitbenchError, unknown_name

if TYPE_CHECKING:
    from ditbench.data.dataset import ImageDataset

SOURCES = {  # name -> module of this package, function, and whether it takes a path
    "digits": ("digits", "load_digits", "none"),
    "cifar10": ("published", "load_cifar10", "optional"),
    "fashion-mnist": ("published", "load_fashion_mnist", "optional"),
    "folder": ("pictures.prepared", "prepared", "required"),
    "npz": ("latents.npz", "load_npz", "required"),
    "latents": ("latents.load", "load_latents", "required"),
}
WITH_SETTINGS = ("folder", "npz", "latents")  # which read the files as the settings say
# What the settings are for that not every data set reads.
_FILES, _TABLE, _LATENTS = "pictures in files", "pictures with a table", "latents"
_FOR = {
    "background": _FILES, "random_crop": _FILES, "max_unreadable": _FILES, "label_column": _TABLE,
    "scaling_factor": _LATENTS,
}  # fmt: skip


def loader_of(path: Path) -> str:
    """The name of the data set for a path: by its suffix, and by the names in a folder."""
    if path.suffix.lower() == ".npz":
        return "npz"
    return "latents" if holds_latents(path) else "folder"


def holds_latents(path: Path) -> bool:
    """Whether a folder has shards of latents, or fast-DiT's folders; no file is opened."""
    try:
        names = {entry.name for entry in os.scandir(path)}
    except (OSError, ValueError):  # a file, or nothing
        return False
    shards = any(name.endswith(".safetensors") for name in names)
    return shards or "latents.json" in names or find_folders(names) is not None


def find_folders(names: Collection[str]) -> tuple[str, str] | None:
    """fast-DiT's folders of latents and labels among the names in a folder, if there are any."""
    for name in sorted(names):
        labels = name.removesuffix("_features") + "_labels"
        if name.endswith("_features") and labels in names:
            return name, labels
    return None


def find_source(text: Path) -> tuple[str, Path | None]:
    """The data set and path that a text stands for: a path, or the name of a data set.

    What exists is a path. What does not is a name if it is one, of torchvision's, too.
    """
    name = str(text)
    if len(text.parts) != 1 or text.suffix or os.path.exists(text):  # noqa: PTH110 (see must_exist)
        return loader_of(text), text
    if name in SOURCES and SOURCES[name][2] != "required":
        return name, None
    return (name, None) if _by_name().find(name) else (loader_of(text), text)


def is_known(name: str) -> bool:
    """Whether there is a data set of this name."""
    return name in SOURCES or _by_name().find(name) is not None


def check_settings(name: str, settings: Settings, *, latents: bool = False) -> None:
    """Raise a DitbenchError if a data set does not read one of the settings that are given.

    `latents`: whether it holds those rather than images.
    """
    holds: tuple[str, ...] = ()
    if latents:
        holds = (_LATENTS,)
    elif name == "folder":
        holds = _FILES, _TABLE
    elif name not in SOURCES:  # of torchvision
        holds = (_FILES,)
    for key, kind in _FOR.items():
        value = getattr(settings, key)
        if value != getattr(DEFAULTS, key) and kind not in holds:
            what = f"{key} = {value} has no effect: it is for {kind}, and the data are '{name}'"
            raise DitbenchError(what, "leave it out")
    if settings.random_crop and settings.image_size is None:
        what = "random_crop has no effect: without an image size, pictures are not cropped"
        raise DitbenchError(what, "leave it out, or pass --image-size")


def load_dataset(
    name: str, path: Path | None = None, settings: Settings = DEFAULTS
) -> ImageDataset:
    """Load a data set by name: one of `SOURCES`, or of torchvision's.

    `path` is the folder or zip of `folder`, or the file of `npz`; for published data sets the
    folder with their files, by default in the cache; None for `digits`. `settings` say how
    pictures are read; `image_size` also resizes images that are in memory.

    Raises:
        DitbenchError: `name` is unknown (the hint suggests the nearest one); a path is missing or
            not accepted; or the data cannot be loaded.
    """
    if name not in SOURCES:
        by_name = _by_name()
        if by_name.find(name) is None:
            raise unknown_name("data set", name, SOURCES)
        return by_name.load_by_name(name, path, settings)
    module, function, takes_path = SOURCES[name]
    if path is None and takes_path == "required":
        raise DitbenchError(
            f"data set '{name}' needs a path",
            "pass a folder or zip of pictures, an .npz, or a folder of latents: --data PATH",
        )
    if path is not None and takes_path == "none":
        raise DitbenchError(
            f"data set '{name}' is built in and takes no path, got {path}",
            "for images of your own: --data PATH, or --set data.name=folder with data.path",
        )
    load = getattr(import_module(f"{__name__}.{module}"), function)
    dataset: ImageDataset
    if name in WITH_SETTINGS:
        dataset = load(path, settings)
    else:
        dataset = load() if path is None else load(path)
    if settings.image_size is not None and name != "folder" and dataset.latents is None:
        from ditbench.data.resized import resized

        dataset = resized(dataset, settings.image_size)
    return dataset


def _by_name() -> Any:
    """The module of torchvision's data sets, which takes seconds to import."""
    return import_module(f"{__name__}.by_name")
