"""The files of an export: a folder of PNGs, or an .npz of the form that ADM's evaluation reads."""

from __future__ import annotations

import base64
import json
import math
import re
import shutil
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ditbench.errors import DitbenchError
from ditbench.files import cannot_write, read_json, write_json, write_output
from ditbench.runs.planning.task import Task
from ditbench.runs.scoring.sampling import Noise
from ditbench.runs.scoring.scored import scored_as

# What an export is of, how many of its images are written, and the noise of the next one.
RECORD = "export.json"
LOCK = ".lock"
PARTIAL = ".part"  # an .npz is written from the files in a folder of its name and this suffix
# Suffixes of files that an export is not.
_OTHER_FILES = (".png", ".jpg", ".jpeg", ".zip", ".npy", ".pt")
_MAX_NAME = 60  # characters of a class in the name of a file

Pixels = NDArray[np.uint8]


class Export(ABC):
    """The files of an export. Their record says how far it is; it is written after each batch."""

    place: Path  # the folder of the record

    def __init__(self, path: Path, identity: dict[str, Any], task: Task, labels: Tensor) -> None:
        self.path = path
        self.identity = identity
        self.labels = labels
        data = scored_as(task.config, task.dataset)
        self.class_names = data.class_names
        self.shape = (data.height, data.width, data.channels)

    @abstractmethod
    def is_complete(self) -> bool:
        """Whether all images are there."""

    @abstractmethod
    def write(self, first: int, images: Pixels) -> None:
        """Write images (N, H, W, C), from this position on."""

    def finish(self) -> None:  # noqa: B027 (a folder has nothing left to do)
        """Receive that all images are written."""

    def done(self) -> tuple[int, Any]:
        """How many images are written, and the noise of the next one; refuses other files."""
        record = self.place / RECORD
        if record.is_file():
            content = read_json(record, "remove the export, and begin it again")
            done = content.get("written")
            if content.get("export") != self.identity or type(done) is not int:
                raise self.other()
            return done, content.get("noise")
        empty = self.place.is_dir() and {each.name for each in self.place.iterdir()} <= {LOCK}
        if self.place.exists() and not empty:
            raise self.other()
        return 0, None

    def add(self, first: int, images: Tensor, noise: Noise) -> None:
        """Write images (N, C, H, W), from this position on, and then the record."""
        try:
            self.write(first, images.permute(0, 2, 3, 1).contiguous().numpy())
        except OSError as error:
            raise cannot_write(self.path, error) from error
        written = first + len(images)
        record = {"export": self.identity, "written": written, "noise": _state(noise)}
        write_json(self.place / RECORD, record)

    def other(self) -> DitbenchError:
        """The error for a path that holds something else."""
        return DitbenchError(
            f"{self.path} exists, and is not this export: it is of another run or of other "
            "settings, or was not made by `ditbench sample`",
            "choose another path, or remove it",
        )


class _Folder(Export):
    """A folder of PNGs: `000042-cat.png` is image 42, of the class cat."""

    def __init__(self, path: Path, *arguments: Any) -> None:
        super().__init__(path, *arguments)
        self.place = path
        safe = [re.sub(r"[^\w.-]+", "-", name)[:_MAX_NAME] for name in self.class_names]
        if len(set(safe)) < len(safe):
            safe = [f"{label}-{name}" for label, name in enumerate(safe)]
        numbered = enumerate(self.labels.tolist())
        self.names = [f"{index:06d}-{safe[label]}.png" for index, label in numbered]

    def is_complete(self) -> bool:
        done, _ = self.done()
        if lost := [name for name in self.names[:done] if not (self.path / name).is_file()]:
            raise DitbenchError(
                f"{self.path}: {len(lost)} of the {done} images that were written are gone, the "
                f"first is {lost[0]}",
                "remove the export, and begin it again",
            )
        return done == len(self.names)

    def write(self, first: int, images: Pixels) -> None:
        paths = [self.path / name for name in self.names[first : first + len(images)]]
        with ThreadPoolExecutor() as threads:  # compression leaves Python's lock
            # Grey images have no axis of channels.
            pictures = images[..., 0] if images.shape[-1] == 1 else images
            list(threads.map(lambda pixels, at: Image.fromarray(pixels).save(at), pictures, paths))


class _Npz(Export):
    """`arr_0`, uint8 (N, H, W, C), and `arr_1`, the labels, int64 (N,).

    Until it is complete, the pixels are in a file of their own. Then the .npz is written, and holds
    what it is of as the comment of its zip.
    """

    def __init__(self, path: Path, *arguments: Any) -> None:
        super().__init__(path, *arguments)
        self.place = path.with_name(path.name + PARTIAL)
        self.pixels = self.place / "pixels"
        self.comment = json.dumps(self.identity).encode()

    def is_complete(self) -> bool:
        if not self.path.exists():
            return False
        comment = b""
        with suppress(OSError, BadZipFile), ZipFile(self.path) as file:
            comment = file.comment
        if comment != self.comment:
            raise self.other()
        return True

    def write(self, first: int, images: Pixels) -> None:
        with self.pixels.open("r+b" if first else "wb") as file:
            file.seek(first * math.prod(self.shape))
            file.write(images.data)

    def finish(self) -> None:
        shape = (len(self.labels), *self.shape)
        pixels = np.memmap(self.pixels, np.uint8, "r", shape=shape)  # never in memory as a whole

        def save(file: BinaryIO) -> None:
            np.savez(file, arr_0=pixels, arr_1=self.labels.numpy())
            with ZipFile(file, "a") as archive:
                archive.comment = self.comment

        write_output(self.path, save)
        shutil.rmtree(self.place, ignore_errors=True)


def export_at(path: Path) -> type[Export]:
    """The kind of export for a path, by its suffix."""
    suffix = path.suffix.lower()
    if suffix in _OTHER_FILES:
        what = f"cannot export to {path}"
        raise DitbenchError(what, "name a folder, or a file that ends in .npz")
    return _Npz if suffix == ".npz" else _Folder


def _state(noise: Noise) -> dict[str, str]:
    """The state of both generators as text."""
    return {
        name: base64.b64encode(each.get_state().numpy().tobytes()).decode()
        for name, each in vars(noise).items()
    }
