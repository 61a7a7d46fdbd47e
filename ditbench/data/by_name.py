"""Any data set of torchvision whose items are a picture and its class, by the name of its class.

Letter case, hyphens and underscores do not matter: `cifar100`, `stl10`, `flowers102`, `food101`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torchvision
from PIL import Image

from ditbench.data.dataset import ImageDataset
from ditbench.data.io.files import shown
from ditbench.data.pictures.decode import FilePictures
from ditbench.data.pictures.layout import Part
from ditbench.data.pictures.prepared import load_part
from ditbench.data.pictures.settings import DEFAULTS, Settings
from ditbench.data.published import downloading, find_root, reason
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.files import one_at_a_time

TRAIN = ("train", "trainval")
HELD_OUT = ("test", "val")
# Where torchvision's classes keep the class of each picture, and the names of the classes.
LABELS = ("targets", "labels", "_labels", "y")
NAMES = ("classes", "categories")


def simple(name: str) -> str:
    """A name without what does not matter in it."""
    return name.casefold().replace("-", "").replace("_", "")


def find(name: str) -> Any | None:
    """The class of torchvision with a name, or None."""
    known = {simple(each): each for each in torchvision.datasets.__all__}
    kind = getattr(torchvision.datasets, known.get(simple(name), ""), None)
    ready = inspect.isclass(kind) and "root" in inspect.signature(kind).parameters
    return kind if ready else None


def load_by_name(name: str, path: Path | None, settings: Settings = DEFAULTS) -> ImageDataset:
    """The training pictures of a data set that `find` finds; its test pictures are held out.

    It is downloaded to `path`, by default `data` in the cache, if torchvision can do that. Raises a
    DitbenchError as `prepared` does, for items that are not a picture and its class, or (exit code
    1) if it cannot be downloaded or is damaged.
    """
    kind = find(name)
    root = find_root(name, name, path)
    load = partial(_load, kind, root, name, settings)
    held_out = _splits(kind, HELD_OUT)
    later = partial(load, HELD_OUT) if held_out else None
    return load(TRAIN, later=later)


def _load(
    kind: Any,
    root: Path,
    name: str,
    settings: Settings,
    wanted: Sequence[str],
    channels: int | None = None,
    later: Callable[[int], ImageDataset] | None = None,
) -> ImageDataset:
    found = _create(kind, root, wanted)
    labels = next((getattr(found, each) for each in LABELS if hasattr(found, each)), None)
    if labels is None:  # slow: every picture is read
        labels = [item[1] for item in found]
    try:
        labels = [int(label) for label in labels]
    except (TypeError, ValueError) as error:
        what = f"the pictures of '{name}' do not have one class each"
        raise DitbenchError(what, "use a folder: --data PATH") from error
    names = next((getattr(found, each) for each in NAMES if hasattr(found, each)), ())
    count = max(labels, default=-1) + 1
    classes = [*map(str, names)] if len(names) >= count else [*map(str, range(count))]
    part = Part(tuple(map(str, range(len(found)))), tuple(labels), tuple(classes))
    return load_part(_Items(found, root / name), part, settings, later, channels=channels)


def _create(kind: Any, root: Path, wanted: Sequence[str]) -> Any:
    """The first of the splits that the data set has; downloaded if need be."""
    last: Exception = ValueError()
    download = {"download": True} if "download" in inspect.signature(kind).parameters else {}
    for split in _splits(kind, wanted) or [{}]:
        try:
            with one_at_a_time(root / f".{kind.__name__}.lock"), downloading():
                root.mkdir(parents=True, exist_ok=True)
                return kind(root, **split, **download)
        except Exception as error:  # networks, servers and damaged files raise anything
            last = error
            if not isinstance(error, ValueError):  # which says that there is no such split
                break
    raise DitbenchError(
        f"torchvision cannot load {kind.__name__} in {shown(root)}: {reason(last)}",
        "see torchvision's page of this class; or use a folder of pictures: --data PATH",
        EXIT_FAILED,
    ) from last


def _splits(kind: Any, wanted: Sequence[str]) -> list[dict[str, Any]]:
    """The arguments that select one of the splits; none if the class has no splits."""
    parameters = inspect.signature(kind).parameters
    if "train" in parameters:
        return [{"train": wanted == TRAIN}]
    return [{"split": each} for each in wanted] if "split" in parameters else []


class _Items(FilePictures):
    """The pictures of a data set of torchvision, under their numbers."""

    def __init__(self, items: Any, path: Path) -> None:
        self.items, self.path = items, path

    def where(self, name: str) -> str:
        return f"{shown(self.path)}: picture {name}"

    def open(self, name: str) -> Image.Image:
        try:
            picture = self.items[int(name)][0]
        except Exception as error:  # a damaged file raises anything
            raise DitbenchError(f"{self.where(name)} is damaged", "download it again") from error
        if not isinstance(picture, Image.Image):
            raise DitbenchError(f"{self.where(name)} is not a picture", "use another data set")
        return picture

    def stamps(self, names: Sequence[str]) -> list[object]:
        """Published pictures do not change; their number and split say which they are."""
        return [torchvision.__version__, len(names), repr(self.items)]
