"""Published data sets by torchvision: downloaded once, or put in place by hand."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ditbench.data.dataset import ImageDataset
from ditbench.data.io.files import shown
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.files import cache_directory, one_at_a_time

TIMEOUT = 30  # seconds to wait for an answer of a server


@dataclass(frozen=True)
class _Published:
    name: str  # in `ditbench.data`
    title: str  # in messages
    class_name: str  # in `torchvision.datasets`
    folder: str  # below the root, where torchvision unpacks it
    by_hand: str  # files to copy below the root where there is no network
    source: str  # where those files are published
    shape: tuple[int, int, int]  # (C, H, W) of an image

    def load(self, path: Path | None = None) -> ImageDataset:
        """Load the training images, and the test images as held-out ones, when they are asked for.

        `path` is the root that contains `folder`; by default `data` in the cache. What is not there
        is downloaded. Raises a DitbenchError (exit code 1) if files cannot be downloaded or are
        damaged.
        """
        root = find_root(self.name, self.title, path)
        with one_at_a_time(root / f".{self.name}.lock"):
            if not self._exists(root):
                self._download(root)
        held_out = partial(self._read, root, train=False)
        return replace(self._read(root, train=True), load_held_out=held_out)

    @property
    def _kind(self) -> Any:
        import torchvision.datasets  # takes seconds to import

        return getattr(torchvision.datasets, self.class_name)

    def _read(self, root: Path, *, train: bool) -> ImageDataset:
        """Read the split for training, or the other."""
        try:
            with redirect_stdout(sys.stderr):
                found = self._kind(root, train=train, download=False)
            pixels = torch.from_numpy(np.asarray(found.data))  # (N, H, W) or (N, H, W, C)
            images = pixels.reshape(*pixels.shape[:3], -1).permute(0, 3, 1, 2).contiguous()
            if images.shape[1:] != self.shape:
                raise ValueError(f"its images have shape {tuple(images.shape[1:])}")
            labels = torch.as_tensor(found.targets, dtype=torch.long)
            return ImageDataset(self.name, images, labels, tuple(found.classes))
        except Exception as error:  # a damaged file raises anything
            raise DitbenchError(
                f"{self.title} in {shown(root / self.folder)} is damaged: {reason(error)}",
                "move that folder away: the next run unpacks or downloads it again",
                EXIT_FAILED,
            ) from error

    def _exists(self, root: Path) -> bool:
        """Whether all files exist; their content is not checked."""
        kind = self._kind
        if self is _CIFAR10:
            names = [name for name, _ in kind.train_list + kind.test_list] + [kind.meta["filename"]]
        else:
            names = [name.removesuffix(".gz") for name, _ in kind.resources]
        return all((root / self.folder / name).is_file() for name in names)

    def _download(self, root: Path) -> None:
        """Download and unpack; an archive that is already there is only unpacked."""
        try:
            with downloading():
                self._kind(root, download=True)
        except Exception as error:  # networks and servers raise anything
            raise DitbenchError(
                f"cannot download {self.title} to {shown(root)}: {reason(error)}",
                f"put {self.by_hand} from {self.source} into {shown(root)}, or use images of "
                "your own: --data PATH",
                EXIT_FAILED,
            ) from error


def find_root(name: str, title: str, path: Path | None) -> Path:
    """Where torchvision keeps a data set: `path`, by default `data` in the cache. Raises a
    DitbenchError if the path is a file, or (exit code 1) there is no cache.
    """
    if path is not None and path.is_file():
        what = f"{shown(path)} is a file, but '{name}' is read from a folder"
        raise DitbenchError(what, f"to train on the images in the file: --data {shown(path)}")
    if path is not None:
        return path
    if (cache := cache_directory()) is None:
        raise DitbenchError(
            f"there is no home directory to store {title} in",
            "name a folder: set DITBENCH_CACHE, or --set data.path=DIR",
            EXIT_FAILED,
        )
    return cache / "data"


@contextmanager
def downloading() -> Iterator[None]:
    """What libraries print goes to stderr, and no server is waited for without end."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)  # torch and torchvision set none
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        socket.setdefaulttimeout(before)


def reason(error: Exception) -> str:
    """What torchvision says, as a message shows it."""
    if "download=True" in str(error):  # torchvision's advice is for programmers
        return "the checksum of a file differs from the published one"
    return shown(" ".join((str(error) or type(error).__name__).split()))


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

load_cifar10 = _CIFAR10.load  # 50,000 images (3, 32, 32), 10 classes
load_fashion_mnist = _FASHION_MNIST.load  # 60,000 images (1, 28, 28), 10 classes
