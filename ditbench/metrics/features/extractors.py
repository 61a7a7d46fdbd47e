"""The protocol of a feature extractor: a fixed function from uint8 images to features.

Legend: N batch, C channels, H, W, F features, K classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from ditbench.data.class_names import match_classes
from ditbench.data.io.tensors import digest_of
from ditbench.world import ALONE, World


class Features(NamedTuple):
    """The output of an extractor for a batch; `logits` is None if it is not a classifier."""

    features: Tensor  # (N, F) float32
    logits: Tensor | None  # (N, K) float32


class Extractor(nn.Module, ABC):
    """A frozen network: always in evaluation mode, without gradients, in full float32.

    Its one argument is a file of weights; None uses the default.
    """

    name: ClassVar[str]  # in the registry
    revision: ClassVar[int] = 1  # incremented when `extract` changes; part of the digest
    num_features: ClassVar[int]  # F
    num_classes: ClassVar[int | None]  # K; None if its classes are not those of the data set
    class_names: ClassVar[tuple[str, ...] | None] = None  # the K classes, in the order of logits
    class_order: ClassVar[tuple[int, ...] | None] = None  # of other logits, see `for_classes`
    classifies: ClassVar[bool] = True  # whether `extract` returns logits, of whatever classes
    accepts: ClassVar[str]  # the images that it accepts, in words
    of_latents: ClassVar[bool] = False  # whether it accepts float32 latents, and no images
    cpu_batch: ClassVar[int] = 500  # images that two CPU cores pass in about a second
    details: Mapping[str, str]  # where the features come from; recorded in `result.json`
    world: World = ALONE  # the processes that share the images

    @classmethod
    def weights_file(cls) -> Path | None:
        """Where the weights are expected by default; the file may be missing. None without any."""
        return None

    @classmethod
    def files(cls) -> tuple[Path, ...]:
        """Every file that it needs, the weights included; they may be missing."""
        return tuple(filter(None, [cls.weights_file()]))

    @classmethod
    def weights_hint(cls) -> str:
        """What to do if the weights are missing or damaged."""
        return ""

    @classmethod
    @abstractmethod
    def check_shape(cls, shape: tuple[int, ...]) -> None:
        """Raise a DitbenchError if the extractor does not accept images of shape (C, H, W)."""

    @classmethod
    def for_classes(cls, names: Sequence[str]) -> type[Self]:
        """The extractor with its logits in the order of the classes of a data set.

        If their `names` are not those of its own classes, by `match_classes`, then its
        `num_classes` is None.
        """
        if cls.class_names is None:
            return cls
        order = match_classes(names, cls.class_names)
        if order == list(range(len(cls.class_names))):
            return cls
        facts = {"num_classes": None} if order is None else {"class_order": tuple(order)}
        return type(cls.__name__, (cls,), facts)

    @abstractmethod
    def extract(self, images: Tensor) -> Features:
        """The features of (N, C, H, W) uint8 images. Call the module instead of this method."""

    def forward(self, images: Tensor, passed: Callable[[int], None] | None = None) -> Features:
        """Compute the features of (N, C, H, W) uint8 images on the extractor's device.

        Each process of the world computes a part of them, and receives all. `passed` receives the
        number of images after each pass of this process's network; on a CPU, a pass is of
        `cpu_batch` images. Raises a TypeError for samples that are not quantised, or latents that
        are not float32; a DitbenchError for a shape that the extractor does not accept.
        """
        wanted = torch.float32 if self.of_latents else torch.uint8
        if images.dtype != wanted:
            what = str(wanted).removeprefix("torch.")
            raise TypeError(f"features need {what} images, got {images.dtype}")
        self.check_shape(tuple(images.shape[1:]))
        N = len(images)
        world = self.world.sharing(N)
        features, logits = self._pass(images[world.part(N)], passed)
        features = world.gather(features, N)
        return Features(features, None if logits is None else world.gather(logits, N))

    def _pass(self, images: Tensor, passed: Callable[[int], None] | None) -> Features:
        N = len(images)
        # Autocast or TF32 of the caller would change these features, but not the cached ones.
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False), exact:
            parts = []
            for part in images.split(self.cpu_batch if images.device.type == "cpu" else N):
                parts.append(self.extract(part))
                if passed is not None:
                    passed(len(part))
        features = torch.cat([part.features for part in parts])
        given = [part.logits for part in parts if part.logits is not None]
        logits = torch.cat(given) if given else None
        if logits is not None and self.class_order is not None:
            logits = logits[:, list(self.class_order)]
        return Features(features, logits)

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002, FBT001
        """Stay in evaluation mode, whatever `mode` is."""
        return super().train(False)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over name, revision and weights: equal only for equal features."""
        return digest_of(self.state_dict(), f"{self.name} {self.revision}")
