"""A folder or zip of pictures as people have them: of any size, mode and layout."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ditbench.data.dataset import ImageDataset
from ditbench.data.io.files import open_files, shown
from ditbench.data.io.pixel_cache import Entry, worth_it
from ditbench.data.io.pixel_file import PixelFile
from ditbench.data.mapped import MappedFile
from ditbench.data.pictures.decode import FilePictures, decode_all
from ditbench.data.pictures.layout import Part, check_classes, find_layout
from ditbench.data.pictures.prepare import check_background
from ditbench.data.pictures.settings import DEFAULTS, Settings
from ditbench.errors import DitbenchError
from ditbench.files import cannot_write, one_at_a_time


def prepared(path: Path, settings: Settings = DEFAULTS) -> ImageDataset:
    """The images of a folder or a zip as `layout` finds them; decoded, or from the cache.

    Equal trees are equal data sets, zipped or not. The name of the folder or zip names it.
    Held-out pictures are read when they are asked for.

    Raises:
        DitbenchError: no such path, not a zip, no pictures; an empty class; a picture in no class
            folder; without an image size, pictures of several sizes; more unreadable ones than
            the settings allow; more than memory holds; a file that changes meanwhile.
    """
    with open_files(path) as files:
        layout = find_layout(files, settings)
        if layout.problems:
            raise layout.problems[0]
        later = None if layout.held_out is None else partial(_held_out, path, settings)
        dataset = load_part(FilePictures(files), layout.train, settings, later, layout.notes)
    check_classes(path, dataset.labels.tolist(), dataset.class_names)
    return dataset


def _held_out(path: Path, settings: Settings, channels: int) -> ImageDataset:
    with open_files(path) as files:
        part = find_layout(files, settings).held_out
        if part is None:
            what = f"the held-out images of {shown(path)} are gone"
            raise DitbenchError(what, "do not change the folder while it is used")
        return load_part(FilePictures(files), part, settings, channels=channels)


def load_part(
    pictures: FilePictures,
    part: Part,
    settings: Settings,
    later: Callable[[int], ImageDataset] | None = None,
    more: Sequence[str] = (),
    channels: int | None = None,
) -> ImageDataset:
    """The images of one part of a data set, decoded or from the cache; see `prepared` for errors.

    `later` loads the held-out images, for the number of channels of these; `more` are notes. With 1
    `channels` they are made grey, and with 3 RGB; by default grey only if all pictures are.
    """
    check_background(settings.background)

    def build(images: Tensor, file: MappedFile | None, **facts: Sequence[Any]) -> ImageDataset:
        labels = torch.from_numpy(np.delete(np.array(part.labels, np.int64), facts["skipped"]))
        held_out = None if later is None else partial(later, images.shape[1])
        name, notes = pictures.path.name.removesuffix(".zip"), (*more, *facts["notes"])
        return ImageDataset(
            name, images, labels, part.classes, held_out,
            notes=notes, problems=tuple(facts["problems"]), file=file,
        )  # fmt: skip

    def find_entry() -> Entry | None:
        place = [str(pictures.path.absolute()), asdict(settings), channels]
        return Entry.of(place, part.names, pictures.stamps(part.names))

    entry = find_entry()
    # The processes that wait here then read the cache.
    with one_at_a_time(entry.path.with_suffix(".lock")) if entry else nullcontext():
        if entry and (cached := entry.read(build)):
            return cached
        started = time.perf_counter()
        read = decode_all(pictures, part.names, settings, channels)
        if entry != find_entry():
            if read.file:
                read.file.remove()
            what = f"{shown(pictures.path)} changed while it was read"
            raise DitbenchError(what, "wait until it is complete")
        images, file = torch.from_numpy(read.pixels), None
        if entry and read.file is not None:
            file = _moved(read.file, len(images), entry.path)
            images = file.tensor
        facts = {"skipped": read.skipped, "notes": read.notes, "problems": read.problems}
        dataset = build(images, file, **facts)
        if entry and (file or worth_it(images, time.perf_counter() - started)):
            try:
                entry.write(dataset, facts)
            except DitbenchError as error:
                return replace(dataset, notes=(*dataset.notes, f"not cached: {error.message}"))
        return dataset


def _moved(file: PixelFile, count: int, path: Path) -> MappedFile:
    """The first pixels of a file, which becomes that of an entry of the cache."""
    try:
        file.finish(count, path)
        return MappedFile(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        file.remove()
