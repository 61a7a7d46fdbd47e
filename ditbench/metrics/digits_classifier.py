"""Features of 8x8 grey digits: a small convolutional classifier that comes with ditbench.

Trained by `ditbench.metrics.train_features`; its accuracy on the fifth of scikit-learn's digits
that it has not seen is recorded in the file, and in `DigitsClassifier.details`.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.metrics.extractors import Extractor, Features

SHAPE = (1, 8, 8)  # C, H, W
NUM_FEATURES = 64
NUM_CLASSES = 10
METADATA = "ditbench"  # the entry of the file's metadata that holds `details`, as JSON
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


def normalise(images: Tensor) -> Tensor:
    """The network's input: uint8 0..255 -> float32 [-1, 1]."""
    return images.to(torch.float32) / 127.5 - 1


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
        try:
            if weights.exists() and not weights.is_file():  # a pipe would be waited for
                raise ValueError("it is not a file")
            with safe_open(weights, framework="pt") as file:
                self.details = json.loads((file.metadata() or {})[METADATA])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            # `assign` takes any type as it is, and what is not a number would be scored with.
            for name, tensor in tensors.items():
                if tensor.dtype != torch.float32 or not tensor.isfinite().all():
                    raise ValueError(f"{name} is not float32, or not finite")
            self.net.load_state_dict(tensors, assign=True)
        except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
            raise DitbenchError(
                f"cannot load the digits features {weights}: {error}".splitlines()[0],
                "make them again: ditbench features train digits",
                EXIT_FAILED,
            ) from error
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
