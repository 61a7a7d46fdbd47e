"""Pictures that are read once, in batches: neither memory nor the cache has to hold them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ditbench.data.io.files import open_files
from ditbench.data.pictures.decode import FilePictures, batched, in_threads, read_picture
from ditbench.data.pictures.layout import find_layout, looks_like_an_image, no_pictures
from ditbench.data.pictures.prepare import Picture
from ditbench.data.pictures.settings import Settings
from ditbench.errors import DitbenchError


class StreamedPictures:
    """The training pictures of a folder or zip as uint8 images of one shape, in file order.

    The settings have an image size. `channels` is 3, or 1 where all pictures are grey. Errors are
    those of `prepared`; one picture that cannot be read is enough.
    """

    def __init__(self, path: Path, settings: Settings, channels: int = 3) -> None:
        self.path, self.settings, self.channels = path, settings, channels
        with open_files(path) as files:
            layout = find_layout(files, settings)
            if layout.problems:
                raise layout.problems[0]
            self.names = [name for name in layout.train.names if looks_like_an_image(name)]
            if not self.names:
                raise no_pictures(path, layout.train.names)
            self._sizes = [files.size(name) for name in self.names]

    @property
    def images(self) -> StreamedPictures:
        """The pictures, which `split` reads."""
        return self

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the names and sizes of the files, and how they are read."""
        facts = [self.names, self._sizes, asdict(self.settings), self.channels]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def split(self, size: int) -> Iterator[Tensor]:
        """The images in batches of `size`: uint8 (N, C, H, W)."""
        with open_files(self.path) as files:
            pictures = FilePictures(files)
            found = in_threads(partial(read_picture, pictures, self.settings), self.names)
            where = map(pictures.where, self.names)
            for batch in batched(map(self._pixels, found, where), size):
                yield torch.from_numpy(np.stack(batch))

    def forget(self) -> None:
        """Nothing is kept."""

    def _pixels(self, picture: Picture | DitbenchError, where: str) -> NDArray[np.uint8]:
        if isinstance(picture, DitbenchError):
            raise picture
        C, H, W = picture.pixels.shape
        if self.channels < C:
            raise DitbenchError(f"{where} is RGB, and the samples are grey", "use grey pictures")
        return np.broadcast_to(picture.pixels, (self.channels, H, W))
