"""Features of torchvision's ImageNet classifiers: what enters their last linear layer.

The weights are those that torchvision publishes, in torch's hub cache. Images are prepared by the
weights' own transforms, except that nothing is cropped: the border of a sample counts, too.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ditbench.metrics.features.extractors import Features
from ditbench.metrics.features.photographs import PhotographExtractor

BATCH = 64  # images in a pass
PUBLISHED = "https://download.pytorch.org/models"


class ImageNetClassifier(PhotographExtractor):
    """The features before the last linear layer, and the logits of ImageNet's 1000 classes."""

    architecture: ClassVar[str]  # in `torchvision.models`
    version: ClassVar[str] = "IMAGENET1K_V1"  # of the weights, in the enum of the architecture

    @classmethod
    def published(cls) -> Any:
        """The weights in torchvision, with their transforms. The import takes a second."""
        from torchvision.models import get_model_weights

        return get_model_weights(cls.architecture)[cls.version]

    def build(self, state: dict[str, Tensor]) -> nn.Module:
        """The network without its last linear layer, `body`, and that layer, `head`."""
        from torchvision.models import get_model

        with torch.device("meta"):  # no random initial weights
            net = get_model(self.architecture, weights=None)
        net.load_state_dict(state, strict=True, assign=True)
        *_, (name, head) = (each for each in net.named_modules() if isinstance(each[1], nn.Linear))
        net.set_submodule(name, nn.Identity())
        self.transform = self.published().transforms()
        self.transform.resize_size = 2 * self.transform.crop_size  # [224, 224]: nothing is cropped
        return nn.ModuleDict({"body": net, "head": head})

    def extract(self, images: Tensor) -> Features:
        """Features (N, F) and logits (N, 1000) of (N, C, H, W) uint8 images."""
        pixels = (self.transform(part.expand(-1, 3, -1, -1)) for part in images.split(BATCH))
        features = torch.cat([self.net.body(each) for each in pixels])
        return Features(features, self.net.head(features))


class ResNet50(ImageNetClassifier):
    """The 2048 features of ResNet-50."""

    name = "resnet50"
    title = "torchvision's ResNet-50"
    network = "ResNet-50 (torchvision, IMAGENET1K_V2), input of the last layer"
    resize = "224x224, bilinear, antialias=True"
    num_features = 2048
    cpu_batch = 8
    architecture = "resnet50"
    version = "IMAGENET1K_V2"
    url = f"{PUBLISHED}/resnet50-11ad3fa6.pth"


class ResNet50First(ResNet50):
    """The same network with the weights of torchvision before version 0.13."""

    name = "resnet50-v1"
    title = "torchvision's ResNet-50 (V1)"
    network = "ResNet-50 (torchvision, IMAGENET1K_V1), input of the last layer"
    version = "IMAGENET1K_V1"
    url = f"{PUBLISHED}/resnet50-0676ba61.pth"


class EfficientNetB0(ImageNetClassifier):
    """The 1280 features of EfficientNet-B0."""

    name = "efficientnet-b0"
    title = "torchvision's EfficientNet-B0"
    network = "EfficientNet-B0 (torchvision, IMAGENET1K_V1), input of the last layer"
    resize = "224x224, bicubic, antialias=True"
    num_features = 1280
    cpu_batch = 8
    architecture = "efficientnet_b0"
    url = f"{PUBLISHED}/efficientnet_b0_rwightman-7f5810bc.pth"


class ResNet18(ImageNetClassifier):
    """The 512 features of ResNet-18."""

    name = "resnet18"
    title = "torchvision's ResNet-18"
    network = "ResNet-18 (torchvision, IMAGENET1K_V1), input of the last layer"
    resize = "224x224, bilinear, antialias=True"
    num_features = 512
    cpu_batch = 16
    architecture = "resnet18"
    url = f"{PUBLISHED}/resnet18-f37072fd.pth"
