"""What every feature extractor is: a fixed function from uint8 images to features.

Legend: N batch, C channels, H, W, F features, K classes.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self


class LabelledImages(Protocol):
    """What the metrics need of a data set; `ditbench.data.ImageDataset` is one."""

    @property
    def images(self) -> Tensor:
        """(N, C, H, W) uint8."""

    @property
    def num_classes(self) -> int:
        """K."""

    @property
    def channels(self) -> int:
        """C."""

    @property
    def height(self) -> int:
        """H, in pixels."""

    @property
    def width(self) -> int:
        """W, in pixels."""

    @property
    def digest(self) -> str:
        """A name for the content: other pixels, other digest."""


class Features(NamedTuple):
    """What an extractor says of a batch; `logits` is None where it does not classify."""

    features: Tensor  # (N, F) float32
    logits: Tensor | None  # (N, K) float32


class Extractor(nn.Module, ABC):
    """A frozen network: always in evaluation mode, without gradients, in full float32.

    Attributes:
        name: the name in the registry.
        revision: raised with every change of what `extract` computes; part of the digest.
        num_features: F.
        num_classes: K, or None where the logits are not the data set's classes.
        details: where the features come from, to be recorded beside the scores.
    """

    name: ClassVar[str]
    revision: ClassVar[int] = 1
    num_features: ClassVar[int]
    num_classes: ClassVar[int | None]
    details: Mapping[str, str]

    @classmethod
    @abstractmethod
    def check_shape(cls, shape: tuple[int, ...]) -> None:
        """Refuse images of another (C, H, W) than the extractor's with a DitbenchError."""

    @abstractmethod
    def extract(self, images: Tensor) -> Features:
        """The features of (N, C, H, W) uint8 images; called by `forward`, which guards it."""

    def forward(self, images: Tensor) -> Features:
        """The features of a batch.

        Args:
            images: (N, C, H, W) uint8, on the extractor's device.

        Raises:
            TypeError: not uint8: samples have to be quantised first.
            DitbenchError: another shape than the extractor's.
        """
        if images.dtype != torch.uint8:
            raise TypeError(f"features are taken of uint8 images, got {images.dtype}")
        self.check_shape(tuple(images.shape[1:]))
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            # A caller's autocast or TF32 would blur the features, and not those in the cache.
            stack.enter_context(torch.autocast(images.device.type, enabled=False))
            if images.device.type == "cuda":
                stack.enter_context(
                    torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
                )
            return self.extract(images)

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002, FBT001
        """Stay in evaluation mode, whoever asks."""
        return super().train(False)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over name, revision and weights: equal only for equal features."""
        return digest_of(self.state_dict(), f"{self.name} {self.revision}")


def digest_of(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """SHA-256 (hex) over a text and named tensors, on whatever device they lie."""
    sha = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        sha.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # As bytes: numpy knows no bfloat16, and a memoryview no zero dimensions.
        content: Any = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        sha.update(content.data)
    return sha.hexdigest()
