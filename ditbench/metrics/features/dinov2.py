"""Features of DINOv2 (Oquab et al. 2023, arXiv:2304.07193), from files that the user has.

Stein et al. 2023 (arXiv:2306.04675) recommend them for the Fréchet distance: ViT-L/14, at 224x224
pixels. Nothing is downloaded: the network's code is a checkout of facebookresearch/dinov2 in the
cache of torch.hub, and the weights are in the file that torch.hub would put beside it.
"""

from __future__ import annotations

import shlex
import warnings
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from ditbench.errors import DitbenchError
from ditbench.metrics.features.extractors import Features
from ditbench.metrics.features.photographs import PhotographExtractor, cached, command, resized

REPOSITORY = "https://github.com/facebookresearch/dinov2"
CHECKOUT = "facebookresearch_dinov2_main"  # the name that torch.hub gives it
URL = "https://dl.fbaipublicfiles.com/dinov2"
SIDE = 224
MEAN = tuple(255 * mean for mean in (0.485, 0.456, 0.406))  # of ImageNet
STD = tuple(255 * std for std in (0.229, 0.224, 0.225))
BATCH = 50  # images in a pass


class DinoV2(PhotographExtractor):
    """The 1024 features of ViT-L/14: the class token after the last LayerNorm."""

    name = "dinov2"
    title = "DINOv2 ViT-L/14"
    network = "ViT-L/14 (facebookresearch/dinov2), class token"
    resize = f"{SIDE}x{SIDE}, bicubic, antialias=True"
    num_features = 1024
    classifies = False
    architecture: ClassVar[str] = "dinov2_vitl14"  # in the checkout's hubconf.py

    @classmethod
    def checkout(cls) -> Path:
        """The folder of the network's code."""
        return Path(torch.hub.get_dir()) / CHECKOUT

    @classmethod
    def weights_file(cls) -> Path:
        """The file in torch's hub cache, under its published name."""
        return cached(f"{cls.architecture}_pretrain.pth")

    @classmethod
    def files(cls) -> tuple[Path, ...]:
        """The checkout's list of models, and the weights."""
        return (cls.checkout() / "hubconf.py", cls.weights_file())

    @classmethod
    def weights_hint(cls) -> str:
        """The command that downloads both."""
        url = f"{URL}/{cls.architecture}/{cls.weights_file().name}"
        code = f"git clone {REPOSITORY} {shlex.quote(str(cls.checkout()))}"
        return f"{code} && {command(url, cls.weights_file())}"

    def build(self, state: dict[str, Tensor]) -> nn.Module:
        """The network of the checkout with these weights."""
        try:
            # The checkout's code draws initial weights from the global stream.
            with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
                warnings.simplefilter("ignore")  # about xFormers, which is optional
                net: nn.Module = torch.hub.load(
                    str(self.checkout()), self.architecture, source="local", pretrained=False
                )
        except Exception as error:  # the checkout is code, which raises anything
            reason = " ".join(str(error).split()) or type(error).__name__
            what = f"cannot make {self.title} from {self.checkout()}: {reason}"
            raise DitbenchError(what, self.weights_hint()) from error
        net.load_state_dict(state, strict=True)
        return net

    def extract(self, images: Tensor) -> Features:
        """Features (N, F) of (N, C, H, W) uint8 images."""
        parts = [self.net(resized(part, SIDE, MEAN, STD)) for part in images.split(BATCH)]
        return Features(torch.cat(parts).float(), None)


class DinoV2Small(DinoV2):
    """The 384 features of ViT-S/14, at a tenth of the cost."""

    name = "dinov2-vits14"
    title = "DINOv2 ViT-S/14"
    network = "ViT-S/14 (facebookresearch/dinov2), class token"
    num_features = 384
    architecture = "dinov2_vits14"
