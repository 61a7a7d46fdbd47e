"""Features of the classifiers whose weights are part of ditbench.

The scripts in `docs/classifiers` trained them. A file of weights is safetensors; its metadata has
an extractor's `details` as JSON, with the accuracy on the images that were held out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ditbench.data.dataset import to_model
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.metrics.features.extractors import Extractor, Features

METADATA = "ditbench"  # the entry of the file's metadata that holds `details`
WIDTHS = (64, 128, 256)  # channels at 32x32, 16x16 and 8x8 pixels; the last are the features
DEPTHS = (2, 2, 2)  # residual blocks at each size


class DigitsNet(nn.Module):
    """Three convolutions, 64 features, and one linear layer that classifies them.

    SiLU and average pooling make the features smooth in the pixels. They are taken before a
    nonlinearity, so that none of them is ever dead and a Gaussian fits them, as FID assumes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _convolution(1, 32, 3)
        self.conv2 = _convolution(32, 64, 3)
        self.conv3 = _convolution(64, 64, 3)
        self.features = nn.Linear(64 * 2 * 2, 64)
        self.logits = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (N, 1, 8, 8) in [-1, 1] to features (N, 64) and logits (N, 10)."""
        x = F.silu(self.conv1(x))  # (N, 32, 8, 8)
        x = F.avg_pool2d(F.silu(self.conv2(x)), 2)  # (N, 64, 4, 4)
        x = F.avg_pool2d(F.silu(self.conv3(x)), 2)  # (N, 64, 2, 2)
        features = self.features(x.flatten(1))
        return features, self.logits(F.silu(features))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, after halving height and width if `halve` is set."""

    def __init__(self, inputs: int, outputs: int, *, halve: bool) -> None:
        super().__init__()
        self.halve = halve
        self.conv1 = _convolution(inputs, outputs, 3)
        self.conv2 = _convolution(outputs, outputs, 3)
        self.shortcut = nn.Identity() if inputs == outputs else _convolution(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W), or to half of H and W."""
        if self.halve:
            x = F.avg_pool2d(x, 2)
        return F.silu(self.conv2(F.silu(self.conv1(x))) + self.shortcut(x))


class Cifar10Net(nn.Module):
    """A stem, stages of residual blocks, the mean over pixels, and one linear layer."""

    def __init__(self, widths: Sequence[int] = WIDTHS, depths: Sequence[int] = DEPTHS) -> None:
        super().__init__()
        inputs = widths[0]
        self.stem = _convolution(3, inputs, 3)
        blocks: list[nn.Module] = []
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            for index in range(depth):
                blocks.append(ResidualBlock(inputs, width, halve=index == 0 and stage > 0))
                inputs = width
        self.blocks = nn.Sequential(*blocks)
        self.logits = nn.Linear(inputs, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (N, 3, 32, 32) in [-1, 1] to features (N, F) and logits (N, 10)."""
        features = self.blocks(F.silu(self.stem(x))).mean((2, 3))
        return features, self.logits(features)


def _convolution(inputs: int, outputs: int, size: int) -> nn.Conv2d:
    """A convolution that keeps height and width."""
    return nn.Conv2d(inputs, outputs, size, padding=size // 2)


class ShippedClassifier(Extractor):
    """Features of a classifier of ditbench; a DitbenchError (exit code 1) for damaged weights."""

    shape: ClassVar[tuple[int, int, int]]  # (C, H, W) of its images
    network: ClassVar[type[nn.Module]]  # returns (features, logits)
    stored: ClassVar[torch.dtype] = torch.float32  # in the file; features are always float32

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        with torch.device("meta"):  # no initialisation, which would draw from the global stream
            self.net = self.network()
        self._load(weights or self.weights_file())
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def weights_file(cls) -> Path:
        """The shipped file."""
        return Path(__file__).parents[1] / "weights" / f"{cls.name}.safetensors"

    @classmethod
    def weights_hint(cls) -> str:
        """The file comes with ditbench."""
        return "the file is part of ditbench: install ditbench again"

    @classmethod
    def check_shape(cls, shape: tuple[int, ...]) -> None:
        """Accept images of exactly one shape."""
        if shape != cls.shape:
            wanted, given = (f"{H}x{W}x{C}" for C, H, W in (cls.shape, shape))
            what = f"{cls.name} features need {wanted} images, got {given}"
            raise DitbenchError(what, "use general features: --features auto")

    def extract(self, images: Tensor) -> Features:
        """Features (N, F) and logits (N, K) of (N, C, H, W) uint8 images."""
        return Features(*self.net(to_model(images)))

    def _load(self, path: Path) -> None:
        """Give the network the file's tensors, as float32, and read its `details`."""
        try:
            if path.exists() and not path.is_file():  # reading a pipe would wait for a writer
                raise ValueError("it is not a file")
            with safe_open(path, framework="pt") as file:
                self.details = json.loads((file.metadata() or {})[METADATA])
                if not isinstance(self.details, dict):
                    raise TypeError("its details are not an object")
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            # `assign` accepts any dtype and any value, NaN included.
            for key, tensor in tensors.items():
                if tensor.dtype != self.stored or not tensor.isfinite().all():
                    stored = str(self.stored).removeprefix("torch.")
                    raise ValueError(f"{key} is not {stored}, or not finite")
            floats = {key: tensor.to(torch.float32) for key, tensor in tensors.items()}
            self.net.load_state_dict(floats, assign=True)
        except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
            what = f"cannot load the {self.name} features {path}: {error}".splitlines()[0]
            raise DitbenchError(what, self.weights_hint(), EXIT_FAILED) from error


class DigitsClassifier(ShippedClassifier):
    """Features of 8x8 grey digits: F = 64, K = 10."""

    name = "digits"
    num_features = 64
    num_classes = 10
    class_names = tuple("0123456789")
    accepts = "8x8 grey"
    shape = (1, 8, 8)
    network = DigitsNet


class Cifar10Classifier(ShippedClassifier):
    """Features of CIFAR-10: F = 256, K = 10. The file is in half precision, to be small."""

    name = "cifar10"
    num_features = WIDTHS[-1]
    num_classes = 10
    class_names = (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    )
    accepts = "32x32 RGB"
    cpu_batch = 50
    shape = (3, 32, 32)
    network = Cifar10Net
    stored = torch.float16
