"""Features of 8x8 grey digits: a small convolutional classifier shipped with ditbench.

`docs/classifiers/train_digits.py` trained it. Its accuracy on the fifth of scikit-learn's digits
that were held out is recorded in the file, and in `DigitsClassifier.details`.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ditbench.metrics.shipped import ShippedClassifier


class DigitsNet(nn.Module):
    """Three convolutions, 64 features, and one linear layer that classifies them.

    SiLU and average pooling make the features smooth in the pixels. They are taken before a
    nonlinearity, so that none of them is ever dead and a Gaussian fits them, as FID assumes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.conv3 = nn.Conv2d(64, 64, 3, padding=1)
        self.features = nn.Linear(64 * 2 * 2, 64)
        self.logits = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (N, 1, 8, 8) in [-1, 1] to features (N, 64) and logits (N, 10)."""
        x = F.silu(self.conv1(x))  # (N, 32, 8, 8)
        x = F.avg_pool2d(F.silu(self.conv2(x)), 2)  # (N, 64, 4, 4)
        x = F.avg_pool2d(F.silu(self.conv3(x)), 2)  # (N, 64, 2, 2)
        features = self.features(x.flatten(1))
        return features, self.logits(F.silu(features))


class DigitsClassifier(ShippedClassifier):
    """The shipped digits features: F = 64, K = 10."""

    name = "digits"
    num_features = 64
    num_classes = 10
    accepts = "8x8 grey"
    shape = (1, 8, 8)
    network = DigitsNet
