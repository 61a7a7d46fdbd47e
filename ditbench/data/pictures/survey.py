"""What a fast look at pictures finds: headers are read, pixels are not. Torch-free."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from ditbench.data.io.files import Files, open_files, shown
from ditbench.data.pictures.decode import below, check_unreadable, in_threads, is_other, notes_of
from ditbench.data.pictures.layout import Part, find_layout
from ditbench.data.pictures.prepare import GREY_MODES, conversions_of, opened, turn_of
from ditbench.data.pictures.settings import DEFAULTS, Settings
from ditbench.errors import DitbenchError

SIDEWAYS = range(5, 9)  # EXIF orientations that exchange width and height


@dataclass(frozen=True)
class Survey:
    """The facts of a data set from which settings are derived."""

    name: str  # of the folder or file without its suffix, or of the data set
    source: str  # `data.name`: folder, npz, or the name of a published data set
    path: Path | None  # `data.path`
    images: int  # readable pictures to train on
    classes: Mapping[str, int]  # pictures per class, in the order of the labels; one if flat
    channels: int  # 1 if every picture is grey, else 3
    sizes: Mapping[tuple[int, int], int]  # (width, height) as shown -> pictures of that size
    held_out: int = 0  # readable pictures that are not trained on
    notes: tuple[str, ...] = ()  # one line per kind of what will be converted or left out
    problems: tuple[DitbenchError, ...] = ()  # what keeps a run from starting
    latents: str | None = None  # what they are, if the images are latents
    flipped: bool = False  # there are latents of mirrored images

    @property
    def shorter_side(self) -> int:
        """The median of the shorter sides, in pixels; the lower one of two."""
        sides = Counter[int]()
        for size, count in self.sizes.items():
            sides[min(size)] += count
        left = (sides.total() + 1) // 2
        for side in sorted(sides):
            left -= sides[side]
            if left <= 0:
                return side
        return 0

    @property
    def common_size(self) -> tuple[int, int] | None:
        """The width and height of all pictures, if they have one size."""
        return next(iter(self.sizes)) if len(self.sizes) == 1 else None


def survey(path: Path, settings: Settings = DEFAULTS) -> Survey:
    """Look at a folder, a zip, an .npz, latents, or a published data set by its name.

    It assumes that pictures will be resized. Without an image size in the settings, it does not say
    which are enlarged. Damage behind the header of a file is not found. Raises a DitbenchError if
    there is nothing to look at.
    """
    registry = import_module("ditbench.data")  # by name: other data sets import torch
    source, place = registry.find_source(path)
    if source != "folder":
        return _of_images(registry.load_dataset(source, place, settings), source, place)
    with open_files(path) as files:
        layout = find_layout(files, settings)
        train = _look_at(files, layout.train, settings)
        held_out = layout.held_out and _look_at(files, layout.held_out, settings)
    return Survey(
        name=Path(os.path.abspath(path)).name.removesuffix(".zip"),  # noqa: PTH100 (as `Location`)
        source=source,
        path=place,
        images=train.sizes.total(),
        classes=train.classes,
        channels=3 if {*train.modes} - {*GREY_MODES} else 1,
        sizes=train.sizes,
        held_out=held_out.sizes.total() if held_out else 0,
        notes=(*layout.notes, *train.notes),
        problems=(*layout.problems, *train.problems),
    )


def _of_images(dataset: Any, source: str, path: Path | None) -> Survey:
    """The facts of a data set that is loaded."""
    labels = Counter(dataset.labels.tolist())
    return Survey(
        name=dataset.name,
        source=source,
        path=path,
        images=len(dataset),
        classes={name: labels[label] for label, name in enumerate(dataset.class_names)},
        channels=dataset.channels,
        sizes={(dataset.width, dataset.height): len(dataset)},
        held_out=len(dataset.held_out or ()),
        notes=dataset.notes,
        latents=dataset.latents and dataset.latents.in_words(),
        flipped=dataset.flipped,
    )


class _Found(NamedTuple):
    """What is found in one part of a data set."""

    classes: dict[str, int]
    sizes: Counter[tuple[int, int]]
    modes: Counter[str]
    notes: tuple[str, ...]
    problems: list[DitbenchError]


def _look_at(files: Files, part: Part, settings: Settings) -> _Found:
    sizes, modes, done = Counter[tuple[int, int]](), Counter[str](), Counter[str]()
    classes = dict.fromkeys(part.classes, 0)
    unreadable: list[DitbenchError] = []
    others: list[str] = []
    if settings.image_size is None:  # as if pictures will be resized, but to no known size
        settings = replace(settings, image_size=1)
    headers = in_threads(partial(_header, files, settings), part.names)
    for name, label, header in zip(part.names, part.labels, headers, strict=True):
        if isinstance(header, tuple):
            size, mode, conversions = header
            sizes[size] += 1
            modes[mode] += 1
            done.update(conversions)
            classes[part.classes[label]] += 1
        elif is_other(name, header):
            others.append(name)
        else:
            unreadable.append(header)
    problems: list[DitbenchError] = []
    skipped = [below(files.path, error) for error in unreadable]
    try:
        check_unreadable(files.path, unreadable, len(part.names) - len(others), settings)
    except DitbenchError as error:
        problems.append(error)
        skipped = []  # the problem names them
    if empty := [name for name, count in classes.items() if not count]:
        what = f"class {shown(empty[0])} holds no pictures"
        problems.append(DitbenchError(what, "add pictures to it, or remove it"))
    if grey := sum(count for mode, count in modes.items() if mode in GREY_MODES):
        done["grey made RGB"] = grey if grey < modes.total() else 0
    notes = notes_of(+done, skipped, others)
    return _Found(classes, sizes, modes, notes, problems)


def _header(
    files: Files, settings: Settings, name: str
) -> tuple[tuple[int, int], str, tuple[str, ...]] | DitbenchError:
    """The size of a picture as shown, its mode, and what is done to it; or why it has none."""
    where = files.where(name)
    try:
        with files.open(name) as file, opened(file, where) as image:
            done = conversions_of(image, where, settings)
            size = image.size[::-1] if turn_of(image) in SIDEWAYS else image.size
            return size, image.mode, done
    except DitbenchError as error:
        return error
