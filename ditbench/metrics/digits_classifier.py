"""Features of 8x8 grey digits: a small convolutional classifier that comes with ditbench.

Trained by `ditbench.metrics.train_features`; its accuracy on the fifth of scikit-learn's digits
that it has not seen is recorded in the file, and in `DigitsClassifier.details`.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ditbench.errors import DitbenchError
from ditbench.metrics.extractors import Extractor, Features
from ditbench.metrics.shipped import load_shipped, normalise

SHAPE = (1, 8, 8)  # C, H, W
NUM_FEATURES = 64
NUM_CLASSES = 10
WEIGHTS = Path(__file__).parent / "weights" / "digits.safetensors"


class DigitsNet(nn.Module):
    """Three convolutions, then 64 features, from which one linear layer tells the class.

    SiLU and average pooling throughout: the features are smooth in the pixels. They are taken
    before a nonlinearity, so that none of them is ever dead and a Gaussian fits them (FID is a
    distance of Gaussians).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.conv3 = nn.Conv2d(64, 64, 3, padding=1)
        self.features = nn.Linear(64 * 2 * 2, NUM_FEATURES)
        self.logits = nn.Linear(NUM_FEATURES, NUM_CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (N, 1, 8, 8) in [-1, 1] to features (N, 64) and logits (N, 10)."""
        x = F.silu(self.conv1(x))  # (N, 32, 8, 8)
        x = F.avg_pool2d(F.silu(self.conv2(x)), 2)  # (N, 64, 4, 4)
        x = F.avg_pool2d(F.silu(self.conv3(x)), 2)  # (N, 64, 2, 2)
        features = self.features(x.flatten(1))
        return features, self.logits(F.silu(features))


class DigitsClassifier(Extractor):
    """The shipped digits features.

    Args:
        weights: another file in place of the shipped one.

    Raises:
        DitbenchError: exit code 1, when the file is missing, damaged or of another network.
    """

    name = "digits"
    num_features = NUM_FEATURES
    num_classes = NUM_CLASSES

    def __init__(self, weights: Path = WEIGHTS) -> None:
        super().__init__()
        with torch.device("meta"):  # no initialisation, which would draw from the global stream
            self.net = DigitsNet()
        self.details = load_shipped(self.name, self.net, weights)
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def check_shape(cls, shape: tuple[int, ...]) -> None:
        """Refuse anything but 8x8x1."""
        if shape != SHAPE:
            C, H, W = shape
            raise DitbenchError(
                f"digits features want 8x8x1 images, got {H}x{W}x{C}",
                "use features for any image: --set metrics.features=inception",
            )

    def extract(self, images: Tensor) -> Features:
        """Features (N, 64) and logits (N, 10) of (N, 1, 8, 8) uint8 images."""
        return Features(*self.net(normalise(images)))
