"""Published data sets by torchvision: downloaded once, or put in their place by hand."""

from __future__ import annotations

import socket
import sys
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from ditbench.data.archive import shown
from ditbench.data.dataset import ImageDataset
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.files import cache_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Seconds that a server may stay silent.
PATIENCE = 30


class _Published(NamedTuple):
    """A data set of torchvision.

    Attributes:
        name: of `ditbench.data`.
        title: what an error calls it.
        class_name: in `torchvision.datasets`.
        folder: below the root, where torchvision unpacks it.
        by_hand: files to be put below the root where there is no network.
        source: where those are to be had.
        shape: (C, H, W) of an image.
    """

    name: str
    title: str
    class_name: str
    folder: str
    by_hand: str
    source: str
    shape: tuple[int, int, int]


_CIFAR10 = _Published(
    name="cifar10",
    title="CIFAR-10",
    class_name="CIFAR10",
    folder="cifar-10-batches-py",
    by_hand="cifar-10-python.tar.gz",
    source="https://www.cs.toronto.edu/~kriz/cifar.html",
    shape=(3, 32, 32),
)
_FASHION_MNIST = _Published(
    name="fashion-mnist",
    title="Fashion-MNIST",
    class_name="FashionMNIST",
    folder="FashionMNIST/raw",
    by_hand="FashionMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz",
    source="https://github.com/zalandoresearch/fashion-mnist",
    shape=(1, 28, 28),
)


def load_cifar10(path: Path | None = None) -> ImageDataset:
    """The 50,000 training images of CIFAR-10, (50000, 3, 32, 32), 10 classes.

    Source: A. Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images. Its files
    are Python pickles: they are opened only when their checksums are those that torchvision knows.

    Args:
        path: the folder that holds torchvision's `cifar-10-batches-py`, or into which it is
            downloaded; by default `data` in the cache.

    Raises:
        DitbenchError: exit code 1, when it cannot be downloaded or is damaged.
    """
    return _load(_CIFAR10, path)


def load_fashion_mnist(path: Path | None = None) -> ImageDataset:
    """The 60,000 training images of Fashion-MNIST, (60000, 1, 28, 28), 10 classes.

    Source: H. Xiao, K. Rasul and R. Vollgraf (2017), Fashion-MNIST: a Novel Image Dataset for
    Benchmarking Machine Learning Algorithms.

    Args:
        path: as in `load_cifar10`, with torchvision's `FashionMNIST/raw`.

    Raises:
        DitbenchError: exit code 1, when it cannot be downloaded or is damaged.
    """
    return _load(_FASHION_MNIST, path)


def _load(published: _Published, path: Path | None) -> ImageDataset:
    import torchvision.datasets  # seconds to import

    kind = getattr(torchvision.datasets, published.class_name)
    root = _root(published, path)
    if not _is_there(kind, root):
        _download(published, kind, root)
    try:
        with redirect_stdout(sys.stderr):
            found = kind(root, download=False)
        return _dataset(published, found)
    except Exception as error:  # a checksum, a shape, whatever a damaged file provokes
        raise DitbenchError(
            f"{published.title} in {shown(root / published.folder)} is damaged: {_reason(error)}",
            "remove that folder: it is then unpacked or downloaded again",
            EXIT_FAILED,
        ) from error


def _dataset(published: _Published, found: Any) -> ImageDataset:
    """What torchvision has read, as ours; ValueError when it is of another shape."""
    pixels = torch.from_numpy(np.asarray(found.data))  # (N, H, W) or (N, H, W, C)
    images = pixels.reshape(*pixels.shape[:3], -1).permute(0, 3, 1, 2).contiguous()
    if images.shape[1:] != published.shape:
        raise ValueError(f"its images have shape {tuple(images.shape[1:])}")
    return ImageDataset(
        name=published.name,
        images=images,
        labels=torch.as_tensor(found.targets, dtype=torch.long),
        class_names=tuple(found.classes),
    )


def _root(published: _Published, path: Path | None) -> Path:
    if path is not None and path.is_file():
        raise DitbenchError(
            f"{shown(path)} is a file, and '{published.name}' lies in a folder",
            f"for the images in it: --data {shown(path)}",
        )
    if path is not None:
        return path
    cache = cache_directory()
    if cache is None:
        raise DitbenchError(
            f"there is no home directory to keep {published.title} in",
            "name a folder: set DITBENCH_CACHE, or --set data.path=DIR",
            EXIT_FAILED,
        )
    return cache / "data"


def _is_there(kind: Any, root: Path) -> bool:
    """Whether all files are there, whatever is in them."""
    if hasattr(kind, "base_folder"):
        names = [name for name, _ in kind.train_list + kind.test_list] + [kind.meta["filename"]]
        folder = root / kind.base_folder
    else:
        names = [name.removesuffix(".gz") for name, _ in kind.resources]
        folder = root / kind.__name__ / "raw"
    return all((folder / name).is_file() for name in names)


def _download(published: _Published, kind: Any, root: Path) -> None:
    """Download and unpack; what was put there by hand is only unpacked."""
    try:
        # torchvision's progress is on stderr, its words are not.
        with redirect_stdout(sys.stderr), _impatient():
            kind(root, download=True)
    except Exception as error:  # of a network there is no end of errors
        raise DitbenchError(
            f"cannot download {published.title} to {shown(root)}: {_reason(error)}",
            f"put {published.by_hand} from {published.source} into {shown(root)}, or use images of "
            "your own: --data PATH",
            EXIT_FAILED,
        ) from error


@contextmanager
def _impatient() -> Iterator[None]:
    """Give up on a server that does not answer."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _reason(error: Exception) -> str:
    if "download=True" in str(error):  # advice of torchvision's to programmers
        return "a file is not as it was published"
    return shown(" ".join((str(error) or type(error).__name__).split()))
