"""The images that are encoded: pictures that are decoded on the way, or a data set in memory."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ditbench.data import check_settings, find_source, load_dataset
from ditbench.data.dataset import ImageDataset
from ditbench.data.io.files import open_files, shown
from ditbench.data.latents.npz import are_latents
from ditbench.data.pictures.decode import FilePictures, below, in_threads, is_other, read_picture
from ditbench.data.pictures.layout import check_classes, find_layout
from ditbench.data.pictures.prepare import Picture
from ditbench.data.pictures.settings import Settings
from ditbench.errors import DitbenchError, together

Pixels = NDArray[np.uint8]  # (C, H, W)


def find_images(path: Path, settings: Settings) -> Images:
    """The images at a path, or of a published data set by its name, or a DitbenchError."""
    name, place = find_source(path)
    if name == "folder" and place is not None:
        return _Pictures(place, settings)
    if are_latents(name, place):
        what = f"{shown(path)} holds latents, not images"
        raise DitbenchError(what, f"train on them: ditbench run --data {shlex.quote(shown(path))}")
    check_settings(name, settings)
    return _InMemory(load_dataset(name, place, settings))


class _Pictures:
    """The pictures of a folder or zip, those to train on; a square is cut out of each."""

    def __init__(self, path: Path, settings: Settings) -> None:
        files = open_files(path)
        layout = find_layout(files, settings)
        if layout.problems:
            raise together(layout.problems)
        self.name = path.name.removesuffix(".zip")
        self.part, self.settings, self.pictures = layout.train, settings, FilePictures(files)
        self.labels, self.class_names = self.part.labels, self.part.classes
        self.notes = [*layout.notes]
        if layout.held_out is not None:
            self.notes.append(f"{len(layout.held_out.names)} held-out pictures are not encoded")
        check_classes(path, self.labels, self.class_names)

    def read(self, numbers: range) -> Iterator[Pixels | str | None]:
        """The pixels of each; or why there are none, or None for a file that is not one."""
        names = self.part.names[numbers.start : numbers.stop]
        read = partial(read_picture, self.pictures, self.settings)
        for name, found in zip(names, in_threads(read, names), strict=True):
            if isinstance(found, Picture):
                yield found.pixels
            else:
                yield None if is_other(name, found) else below(self.pictures.path, found)

    def facts(self) -> list[Any]:
        """What changes when the images do, as JSON."""
        names = self.part.names
        return [asdict(self.settings), names, self.labels, self.pictures.stamps(names)]

    def check(self, unreadable: int) -> None:
        """Raise a DitbenchError if more are unreadable than may be skipped."""
        count, most = len(self.labels), self.settings.max_unreadable
        if unreadable > most * count:
            share = min(1.0, math.ceil(1_000 * unreadable / count) / 1_000)
            raise DitbenchError(
                f"{shown(self.pictures.path)}: {unreadable} or more of {count} pictures cannot be "
                "read",
                "ditbench init lists them: replace or remove them; or skip more: "
                f"--max-unreadable {share:g}",
            )


class _InMemory:
    """The images of a data set in memory."""

    def __init__(self, dataset: ImageDataset) -> None:
        self.dataset = dataset
        self.name, self.class_names = dataset.name, dataset.class_names
        self.labels: list[int] = dataset.labels.tolist()
        self.notes = [*dataset.notes]

    def read(self, numbers: range) -> Iterator[Pixels | str | None]:
        yield from self.dataset.images[numbers.start : numbers.stop].numpy()

    def facts(self) -> list[Any]:
        return [self.dataset.digest]

    def check(self, unreadable: int) -> None:
        """All of them can be read."""


Images = _Pictures | _InMemory
