"""A data set, and the two maps between its pixels and the range of a model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from ditbench.data.latents.space import LatentSpace
from ditbench.errors import EXIT_FAILED, DitbenchError

# Bytes that are hashed at once: between two parts, Ctrl-C is noticed.
HASHED = 2**26
LATENT_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


class Rows(Protocol):
    """The images or latents of a data set in files."""

    def read(self, index: Tensor, into: Tensor) -> None:
        """Copy the rows of `index` (M,) to `into` (M, ...), contiguous and on the CPU."""

    def forget(self) -> None:
        """Let what was read no longer count as this process's memory."""


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Images, or latents of images, and the class of each, on the CPU, not to be modified.

    Images are in memory or in a mapped file. Latents are only read from `file`: `images` has their
    shape and type on the meta device, where none of it can be mistaken for numbers. Raises a
    DitbenchError for a wrong type or shape, no images, or a label out of range.
    """

    name: str  # in tables
    images: Tensor  # (N, C, H, W) uint8; of latents float, and moments have 2C channels
    labels: Tensor  # (N,) int64, each in [0, len(class_names))
    class_names: tuple[str, ...]  # one name per class; a class may have no images
    # Loads images that are not trained on, of the same shape. They are not in `digest`.
    load_held_out: Callable[[], ImageDataset] | None = None
    notes: tuple[str, ...] = ()  # what was converted or left out: `312 CMYK made RGB`
    problems: tuple[str, ...] = ()  # the pictures that were skipped, each with the reason
    file: Rows | None = None  # where the images are, if they are not in memory
    latents: LatentSpace | None = None  # what the numbers are, unless they are pixels
    flipped: bool = False  # `file` has latents of mirrored images, that of image i as row N + i
    known_digest: str | None = None  # of latents, which are not read again

    def __post_init__(self) -> None:
        images, labels, K = self.images, self.labels, len(self.class_names)
        dtypes = LATENT_DTYPES if self.latents else (torch.uint8,)
        if images.dtype not in dtypes or images.ndim != 4 or not images.numel():
            expected = "float16, bfloat16 or float32" if self.latents else "uint8"
            wrong = f"images {_describe(images)}, expected {expected} (N, C, H, W)"
        elif labels.dtype != torch.long or labels.shape != images.shape[:1]:
            wrong = f"labels {_describe(labels)}, expected int64 ({len(images)},)"
        elif labels.min() < 0 or labels.max() >= K:
            wrong = f"labels {labels.min()}..{labels.max()}, expected 0..{K - 1}"
        else:
            return
        raise DitbenchError(f"data set '{self.name}' has {wrong}", "check how it was made")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def channels(self) -> int:
        """C: 1 for grey images, 3 for RGB; of latents, those that a model sees."""
        moments = self.latents is not None and self.latents.moments
        return self.images.shape[1] // 2 if moments else self.images.shape[1]

    @property
    def height(self) -> int:
        """H, in pixels or latents."""
        return self.images.shape[2]

    @property
    def width(self) -> int:
        """W, in pixels or latents."""
        return self.images.shape[3]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of what a model sees."""
        return self.channels, self.height, self.width

    @cached_property
    def held_out(self) -> ImageDataset | None:
        """The images that are not trained on, or None; loaded at the first use. Raises a
        DitbenchError if they cannot be read, or have another shape.
        """
        if self.load_held_out is None:
            return None
        held_out = self.load_held_out()
        own, other = self.shape, held_out.shape
        if own != other:
            what = f"images of '{self.name}' have shape {own}, its held-out images {other}"
            raise DitbenchError(what, "make all images of one size and mode")
        return held_out

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over shape, number of classes, pixels and labels; names do not matter.

        Of latents, `load_latents` computes it, with what the numbers mean.
        """
        if self.known_digest is not None:
            return self.known_digest
        sha = hashlib.sha256(repr((tuple(self.images.shape), self.num_classes)).encode())
        for images in self.images.split(max(1, HASHED // self.images[0].nbytes)):
            sha.update(images.contiguous().numpy().data)
        sha.update(self.labels.contiguous().numpy().data)
        self.forget()
        return sha.hexdigest()

    def read(self, index: Tensor, into: Tensor) -> None:
        """Copy the rows of `index` (M,) to `into` (M, C, H, W), contiguous and on the CPU. Raises a
        DitbenchError (exit code 1) if they are in a file that cannot be read any more.
        """
        if self.file is None:
            torch.index_select(self.images, 0, index, out=into)
        else:
            self.file.read(index, into)

    @property
    def nbytes(self) -> int:
        """The bytes of all rows."""
        return self.images.nbytes * (1 + self.flipped)

    def on(self, device: torch.device) -> Tensor:
        """All rows on a device; with the latents of mirrored images, there are 2N."""
        if self.latents is None:
            return self.images.to(device)
        count = len(self) * (1 + self.flipped)
        found = self.images.new_empty(count, *self.images.shape[1:], device=device)
        for index in torch.arange(count).split(max(1, HASHED // self.images[0].nbytes)):
            part = torch.empty_like(found[: len(index)], device="cpu")
            self.read(index, part)
            found[index[0] : index[-1] + 1] = part
        return found

    def to_model(self, images: Tensor, noise: Tensor | None = None) -> Tensor:
        """Images of this data set in the range of a model, float32 (N, C, H, W).

        `noise` draws latents from their posterior, see `LatentSpace.to_model`.
        """
        if self.latents is None:
            return to_model(images)
        return self.latents.to_model(images, noise)

    def forget(self) -> None:
        """Let images that were read from a file no longer count as this process's memory."""
        if self.file is not None:
            self.file.forget()


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


class NanSamples(DitbenchError):  # noqa: N818 (named like Diverged)
    """Samples contain NaN: exit code 1."""

    def __init__(self) -> None:
        message = "the samples contain NaN: the model has diverged"
        super().__init__(message, "lower the learning rate: --lr", EXIT_FAILED)


def to_model(images: Tensor) -> Tensor:
    """Map pixels to the range of a network: uint8 0..255 -> float32 [-1, 1], any shape."""
    return images.to(torch.float32) / 127.5 - 1


def to_uint8(x: Tensor) -> Tensor:
    """Quantise samples of any shape as an image file would: clamp to [-1, 1], round to 0..255.

    It inverts `to_model` for all 256 values. Metrics score quantised samples, because the real
    images are quantised, too. Raises NanSamples if `x` contains NaN: the cast would turn it into a
    black pixel, and a model that has diverged would get an ordinary score.
    """
    if x.isnan().any():
        raise NanSamples
    return quantised(x)


def quantised(x: Tensor) -> Tensor:
    """`to_uint8` without its check, for which a host has to wait for the device."""
    return ((x.to(torch.float32).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
