"""Published data sets by torchvision: downloaded once, or copied to their place by hand."""

from __future__ import annotations

import socket
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from ditbench.data.dataset import ImageDataset
from ditbench.data.io.files import shown
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.files import cache_directory

if TYPE_CHECKING:
    from pathlib import Path

# Seconds that a server may stay silent.
TIMEOUT = 30


class _Published(NamedTuple):
    name: str  # in `ditbench.data`
    title: str  # in messages
    class_name: str  # in `torchvision.datasets`
    folder: str  # below the root, where torchvision unpacks it
    by_hand: str  # files to copy below the root where there is no network
    source: str  # where those files are published
    shape: tuple[int, int, int]  # (C, H, W) of an image


# A. Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images. The files are Python
# pickles: torchvision opens them only if their checksums are the published ones.
_CIFAR10 = _Published(
    name="cifar10",
    title="CIFAR-10",
    class_name="CIFAR10",
    folder="cifar-10-batches-py",
    by_hand="cifar-10-python.tar.gz",
    source="https://www.cs.toronto.edu/~kriz/cifar.html",
    shape=(3, 32, 32),
)
# H. Xiao, K. Rasul and R. Vollgraf (2017), Fashion-MNIST: a Novel Image Dataset for Benchmarking
# Machine Learning Algorithms.
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
    """The 50,000 training images of CIFAR-10: (50000, 3, 32, 32), 10 classes."""
    return _load(_CIFAR10, path)


def load_fashion_mnist(path: Path | None = None) -> ImageDataset:
    """The 60,000 training images of Fashion-MNIST: (60000, 1, 28, 28), 10 classes."""
    return _load(_FASHION_MNIST, path)


def _load(published: _Published, path: Path | None) -> ImageDataset:
    """Load a data set; download it if it is not there.

    Args:
        published: the data set.
        path: the root that contains `published.folder`; by default `data` in the cache.

    Raises:
        DitbenchError: exit code 1, if the files cannot be downloaded or are damaged.
    """
    import torchvision.datasets  # takes seconds to import

    kind = getattr(torchvision.datasets, published.class_name)
    root = _root(published, path)
    if not _exists(published, kind, root):
        _download(published, kind, root)
    try:
        with redirect_stdout(sys.stderr):
            found = kind(root, download=False)
        return _dataset(published, found)
    except Exception as error:  # a damaged file raises anything
        raise DitbenchError(
            f"{published.title} in {shown(root / published.folder)} is damaged: {_reason(error)}",
            "remove that folder: the next run unpacks or downloads it again",
            EXIT_FAILED,
        ) from error


def _dataset(published: _Published, found: Any) -> ImageDataset:
    """Convert a torchvision data set; raises ValueError if its images have another shape."""
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
            f"{shown(path)} is a file, but '{published.name}' is read from a folder",
            f"to train on the images in the file: --data {shown(path)}",
        )
    if path is not None:
        return path
    cache = cache_directory()
    if cache is None:
        raise DitbenchError(
            f"there is no home directory to store {published.title} in",
            "name a folder: set DITBENCH_CACHE, or --set data.path=DIR",
            EXIT_FAILED,
        )
    return cache / "data"


def _exists(published: _Published, kind: Any, root: Path) -> bool:
    """Whether all files exist, whatever their content."""
    if published is _CIFAR10:
        names = [name for name, _ in kind.train_list + kind.test_list] + [kind.meta["filename"]]
    else:
        names = [name.removesuffix(".gz") for name, _ in kind.resources]
    return all((root / published.folder / name).is_file() for name in names)


def _download(published: _Published, kind: Any, root: Path) -> None:
    """Download and unpack; an archive that is already there is only unpacked."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)  # torchvision sets none
    try:
        with redirect_stdout(sys.stderr):
            kind(root, download=True)
    except Exception as error:  # networks and servers raise anything
        raise DitbenchError(
            f"cannot download {published.title} to {shown(root)}: {_reason(error)}",
            f"put {published.by_hand} from {published.source} into {shown(root)}, or use images of "
            "your own: --data PATH",
            EXIT_FAILED,
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _reason(error: Exception) -> str:
    if "download=True" in str(error):  # torchvision's advice is for programmers
        return "the checksum of a file differs from the published one"
    return shown(" ".join((str(error) or type(error).__name__).split()))
