"""Many pictures as one array of pixels, decoded by several threads. Torch-free."""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ditbench.data.io.files import Files, shown, stamp
from ditbench.data.io.limits import too_large_for_memory
from ditbench.data.io.pixel_file import PixelFile
from ditbench.data.pictures.layout import looks_like_an_image, no_pictures, passed_over
from ditbench.data.pictures.prepare import NotAPicture, Picture, open_picture, prepare
from ditbench.data.pictures.settings import DEFAULTS, Settings
from ditbench.data.reading import followed
from ditbench.errors import DitbenchError, one_line

T = TypeVar("T")
THREADS = min(os.cpu_count() or 1, 16)  # Pillow works outside of Python's lock
CHUNK = 8  # pictures that a thread decodes at a time: small ones take no longer than the call
NAMED, NOTED = 10, 3  # unreadable files that an error names, and a note


class FilePictures:
    """The pictures in the files of a folder or zip; a subclass has those of another library."""

    def __init__(self, files: Files) -> None:
        self.files, self.path = files, files.path

    def where(self, name: str) -> str:
        """A picture as a message names it."""
        return self.files.where(name)

    def open(self, name: str) -> Image.Image:
        """A picture whose header is read, at least. Raises a DitbenchError."""
        return open_picture(self.files.read(name), self.where(name))

    def stamps(self, names: Sequence[str]) -> list[object]:
        """What changes with the pictures: size and times of each file, or of the zip."""
        paths = [self.path / name for name in names] if self.path.is_dir() else [self.path]
        return [*map(stamp, paths)]


@dataclass(frozen=True)
class Decoded:
    """The pixels of the pictures that could be read, and what was done to them."""

    pixels: NDArray[np.uint8]  # (N, C, H, W)
    file: PixelFile | None = None  # where they are, if memory is too small
    skipped: tuple[int, ...] = ()  # positions of the names without pixels
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()  # the unreadable ones, a line each


def decode_all(
    pictures: FilePictures,
    names: Sequence[str],
    settings: Settings = DEFAULTS,
    channels: int | None = None,
) -> Decoded:
    """Decode pictures; the result does not depend on the number of threads.

    The images are grey if every picture is, and else RGB. `channels` makes all of them grey (1) or
    RGB (3). Raises a DitbenchError if there are no pictures, more unreadable ones than the settings
    allow, several sizes, or more than memory holds.
    """
    stack = _Stack(pictures, names, channels)
    try:
        return _decode_into(stack, pictures, names, settings)
    except BaseException:
        if stack.file:
            stack.file.remove()
        raise


def _decode_into(
    stack: _Stack, pictures: FilePictures, names: Sequence[str], settings: Settings
) -> Decoded:
    unreadable: list[DitbenchError] = []
    skipped, others = [], []
    with warnings.catch_warnings():
        # Of metadata, which does not change pixels, and of large images.
        warnings.simplefilter("ignore")
        read = partial(read_picture, pictures, settings)
        for index, picture in enumerate(followed(in_threads(read, names), len(names))):
            if isinstance(picture, Picture):
                stack.add(index, picture)
                continue
            skipped.append(index)
            if is_other(names[index], picture):
                others.append(names[index])
            else:
                unreadable.append(picture)
    check_unreadable(pictures.path, unreadable, len(names) - len(others), settings)
    if stack.count == 0:
        raise no_pictures(pictures.path, names)
    problems = tuple(below(pictures.path, error) for error in unreadable)
    notes = notes_of(stack.done, problems, others)
    return Decoded(stack.pixels[: stack.count], stack.file, tuple(skipped), notes, problems)


def is_other(name: str, error: DitbenchError) -> bool:
    """Whether a file is not a picture, rather than one that cannot be read."""
    return isinstance(error, NotAPicture) and not looks_like_an_image(name)


def notes_of(
    done: Counter[str], unreadable: Sequence[str], others: Sequence[str]
) -> tuple[str, ...]:
    """One line per kind of what is done to pictures, and of files that are left out.

    `unreadable` says in words what is wrong with each such picture.
    """
    notes = [f"{number} {text}" for text, number in done.items()]
    if unreadable:
        notes.append(f"{len(unreadable)} unreadable skipped ({_first(unreadable, NOTED)})")
    return (*notes, passed_over(others)) if others else tuple(notes)


class _Stack:
    """The pixels of pictures, (N, C, H, W), which become RGB with the first one that is."""

    def __init__(self, pictures: FilePictures, names: Sequence[str], channels: int | None) -> None:
        self.pictures, self.names, self.channels = pictures, names, channels
        self.pixels = np.empty((0, channels or 1, 0, 0), np.uint8)
        self.file: PixelFile | None = None
        self.count = 0
        self.first = ""  # the name of the first picture
        self.grey = 0  # the number of grey pictures
        self._done: Counter[str] = Counter()

    def add(self, index: int, picture: Picture) -> None:
        image = picture.pixels
        self._done.update(picture.done)
        if self.channels == 1 and len(image) == 3:
            image = np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L"))[None]
            self._done["RGB made grey"] += 1
        C, H, W = image.shape
        if not self.count:
            self.first = self.names[index]
            self._allocate(self.channels or C, H, W)
        if self.pixels.shape[2:] != (H, W):
            raise self._unlike(self.names[index], image)
        if self.pixels.shape[1] < C:
            self._allocate(C, H, W)
        self.grey += C == 1
        self.pixels[self.count] = image  # a grey one in each channel
        self.count += 1

    @property
    def done(self) -> Counter[str]:
        """What was done to the pictures: words that follow a number, and the number."""
        if self.grey and self.pixels.shape[1] == 3:
            return self._done + Counter({"grey made RGB": self.grey})
        return self._done

    def _allocate(self, *shape: int) -> None:
        before, old, size = self.pixels, self.file, (len(self.names), *shape)
        if too_large_for_memory(len(self.names), shape):
            self.file = PixelFile(shown(self.pictures.path), size)
            self.pixels = self.file.pixels
        else:
            self.pixels = np.empty(size, np.uint8)
        if self.count:
            self.pixels[: self.count] = before[: self.count]
        if old:
            old.remove()

    def _unlike(self, name: str, image: NDArray[np.uint8]) -> DitbenchError:
        """The error for a picture whose size is not that of the first one."""
        size, first_size = (f"{each.shape[-1]}x{each.shape[-2]}" for each in (image, self.pixels))
        what = f"{self.pictures.where(name)} is {size}, but {shown(self.first)} is {first_size}"
        return DitbenchError(what, "resize all of them to squares of N pixels: --image-size N")


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Items in lists of `size`; the last may be shorter."""
    iterator = iter(items)
    while some := [*islice(iterator, size)]:
        yield some


def in_threads(read: Callable[[str], T], names: Sequence[str]) -> Iterator[T]:
    """What a function returns for each name, in order, of several threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[Future[list[T]]] = deque()
        for some in batched(names, CHUNK):
            waiting.append(pool.submit(lambda some: [*map(read, some)], some))
            if len(waiting) > 2 * THREADS:  # not more: pixels need memory
                yield from waiting.popleft().result()
        for each in waiting:
            yield from each.result()


def read_picture(pictures: FilePictures, settings: Settings, name: str) -> Picture | DitbenchError:
    """The pixels of a picture, or why there are none."""
    place = 0.5
    if settings.random_crop:  # the same in every run and on every machine
        digest = hashlib.sha256(name.encode(errors="surrogateescape")).digest()
        place = int.from_bytes(digest[:4], "big") / 2**32
    try:
        with pictures.open(name) as image:
            return prepare(image, pictures.where(name), settings, place)
    except DitbenchError as error:
        return error


def check_unreadable(
    path: Path, unreadable: Sequence[DitbenchError], count: int, settings: Settings
) -> None:
    """Raise a DitbenchError if more of `count` pictures are unreadable than may be skipped."""
    if len(unreadable) <= settings.max_unreadable * count:
        return
    share = min(1.0, math.ceil(1_000 * len(unreadable) / count) / 1_000)
    skip = f"skip up to that share: --set data.max_unreadable={share:g}"
    if len(unreadable) == 1:
        error = unreadable[0]
        raise DitbenchError(error.message, f"{error.hint}; or {skip}")
    named = _first([below(path, error) for error in unreadable], NAMED)
    what = f"{shown(path)}: {len(unreadable)} of {count} pictures cannot be read: {named}"
    raise DitbenchError(what, f"replace or remove them, or {skip}")


def _first(problems: Sequence[str], most: int) -> str:
    """The first problems, joined in a line."""
    lines = [one_line(problem, 70) for problem in problems[:most]]
    return "; ".join([*lines, "..."] if len(problems) > most else lines)


def below(path: Path, error: DitbenchError) -> str:
    """What is wrong with a file, which is named without the path of the folder."""
    return error.message.removeprefix(f"{shown(path)}: ")
