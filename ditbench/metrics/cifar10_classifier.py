"""Features of 32x32 colour images: a residual classifier of CIFAR-10 that comes with ditbench.

Trained by `ditbench.metrics.train_cifar10`; its accuracy on the test images is recorded in the
file, and in `Cifar10Classifier.details`. The file holds half-precision numbers, to be small; the
features are computed in float32 of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ditbench.metrics.shipped import ShippedClassifier

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SHAPE = (3, 32, 32)  # C, H, W
WIDTHS = (64, 128, 256)  # channels at 32x32, 16x16 and 8x8 pixels; the last are the features
DEPTHS = (2, 2, 2)  # residual blocks at each
NUM_FEATURES = WIDTHS[-1]
NUM_CLASSES = 10
STORED = torch.float16
WEIGHTS = Path(__file__).parent / "weights" / "cifar10.safetensors"


def convolution(inputs: int, outputs: int, size: int) -> nn.Module:
    """A convolution that keeps height and width, as the finished network has them."""
    return nn.Conv2d(inputs, outputs, size, padding=size // 2)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; halves height and width first, if asked to."""

    def __init__(
        self, inputs: int, outputs: int, unit: Callable[[int, int, int], nn.Module], *, halves: bool
    ) -> None:
        super().__init__()
        self.halves = halves
        self.conv1 = unit(inputs, outputs, 3)
        self.conv2 = unit(outputs, outputs, 3)
        self.shortcut = nn.Identity() if inputs == outputs else unit(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W), or to half of H and W."""
        if self.halves:
            x = F.avg_pool2d(x, 2)
        return F.silu(self.conv2(F.silu(self.conv1(x))) + self.shortcut(x))


class Cifar10Net(nn.Module):
    """A stem, residual blocks in stages of half the size each, their mean, one linear layer.

    SiLU and average pooling throughout: the features are smooth in the pixels.

    Args:
        widths: channels of each stage; the last are the features.
        depths: residual blocks of each stage.
        unit: makes a convolution of (inputs, outputs, size). The network is trained with batch
            normalisation behind each, and used with both folded into one.
    """

    def __init__(
        self,
        widths: Sequence[int] = WIDTHS,
        depths: Sequence[int] = DEPTHS,
        unit: Callable[[int, int, int], nn.Module] = convolution,
    ) -> None:
        super().__init__()
        self.stem = unit(SHAPE[0], widths[0], 3)
        blocks: list[nn.Module] = []
        inputs = widths[0]
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            for place in range(depth):
                blocks.append(ResidualBlock(inputs, width, unit, halves=place == 0 and stage > 0))
                inputs = width
        self.blocks = nn.Sequential(*blocks)
        self.logits = nn.Linear(inputs, NUM_CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (N, 3, 32, 32) in [-1, 1] to features (N, F) and logits (N, 10)."""
        features = self.blocks(F.silu(self.stem(x))).mean((2, 3))
        return features, self.logits(features)


class Cifar10Classifier(ShippedClassifier):
    """The shipped features of CIFAR-10: F = 256, K = 10."""

    name = "cifar10"
    num_features = NUM_FEATURES
    num_classes = NUM_CLASSES
    shape = SHAPE
    network = Cifar10Net
    weights = WEIGHTS
    stored = STORED
