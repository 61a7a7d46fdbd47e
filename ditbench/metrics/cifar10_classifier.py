"""Features of 32x32 colour images: a residual classifier of CIFAR-10 shipped with ditbench.

`docs/classifiers/train_cifar10.py` trained it. Its accuracy on the test images is recorded in the
file, and in `Cifar10Classifier.details`. The file is in half precision, to be small; the features
are computed in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ditbench.metrics.shipped import ShippedClassifier

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTHS = (64, 128, 256)  # channels at 32x32, 16x16 and 8x8 pixels; the last are the features
DEPTHS = (2, 2, 2)  # residual blocks at each size


def convolution(inputs: int, outputs: int, size: int) -> nn.Conv2d:
    """A convolution that keeps height and width."""
    return nn.Conv2d(inputs, outputs, size, padding=size // 2)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, after halving height and width if `halve` is set."""

    def __init__(self, inputs: int, outputs: int, *, halve: bool) -> None:
        super().__init__()
        self.halve = halve
        self.conv1 = convolution(inputs, outputs, 3)
        self.conv2 = convolution(outputs, outputs, 3)
        self.shortcut = nn.Identity() if inputs == outputs else convolution(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W), or to half of H and W."""
        if self.halve:
            x = F.avg_pool2d(x, 2)
        return F.silu(self.conv2(F.silu(self.conv1(x))) + self.shortcut(x))


class Cifar10Net(nn.Module):
    """A stem, stages of residual blocks, the mean over pixels, and one linear layer.

    SiLU and average pooling make the features smooth in the pixels.

    Args:
        widths: channels of each stage; those of the last are the features.
        depths: residual blocks of each stage.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS, depths: Sequence[int] = DEPTHS) -> None:
        super().__init__()
        inputs = widths[0]
        self.stem = convolution(3, inputs, 3)
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


class Cifar10Classifier(ShippedClassifier):
    """The shipped features of CIFAR-10: F = 256, K = 10."""

    name = "cifar10"
    num_features = WIDTHS[-1]
    num_classes = 10
    accepts = "32x32 RGB"
    shape = (3, 32, 32)
    network = Cifar10Net
    stored = torch.float16
