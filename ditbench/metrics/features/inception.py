"""Features of Inception-v3, the network of the original FID: torch-fidelity's port, 2048 features.

Images are resized to 299x299 as TensorFlow 1 did, without antialiasing, as in the original FID.
The FID of torchmetrics antialiases by default since version 1.8, which gives other numbers.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ditbench.metrics.features.extractors import Features
from ditbench.metrics.features.photographs import PhotographExtractor, cached

# The same file under the name that pytorch-fid gives it: it ends in the same digits of the SHA-256.
COPY = "pt_inception-2015-12-05-6726825d.pth"


class InceptionV3(PhotographExtractor):
    """Inception-v3's 2048 pooled features, and its logits without the bias (as for its score).

    `weights` is a state-dict file as published by torch-fidelity. None uses the file in torch's hub
    cache, as torch-fidelity does, and downloads it if it is missing. Raises a DitbenchError if the
    file does not hold such weights, or (exit code 1) the download fails.
    """

    name = "inception"
    title = "torch-fidelity's Inception-v3"
    num_features = 2048
    cpu_batch = 4
    network = "Inception-v3 (torch-fidelity), layer 2048"
    url: ClassVar[str] = (  # 91 MiB
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
        "weights-inception-2015-12-05-6726825d.pth"
    )
    resize = "299x299, bilinear as in TensorFlow 1, antialias=False"

    @classmethod
    def weights_file(cls) -> Path:
        """The file in torch's hub cache: that of torch-fidelity, or pytorch-fid's copy of it."""
        path, copy = super().weights_file(), cached(COPY)
        return copy if copy.is_file() and not path.is_file() else path

    @classmethod
    def weights_hint(cls) -> str:
        """The command that downloads the file, or what to do with a copy."""
        return f"{super().weights_hint()}, or name the file: --set metrics.inception_weights=PATH"

    def build(self, state: dict[str, Tensor]) -> nn.Module:
        """The network of torchmetrics, without antialiasing."""
        from torchmetrics.image.fid import NoTrainInceptionV3

        # The constructor unpickles a file without restrictions, or downloads one. It gets a buffer
        # with the tensors that were read safely. The fork restores the global stream after its
        # initialisation.
        buffer: Any = io.BytesIO()
        torch.save(state, buffer)
        buffer.seek(0)
        with torch.random.fork_rng(devices=[]):
            return NoTrainInceptionV3("inception-v3-compat", ["2048"], buffer, antialias=False)

    def extract(self, images: Tensor) -> Features:
        """Features (N, 2048) and logits (N, 1008); a grey image becomes RGB with equal channels."""
        features = self.net(images.expand(-1, 3, -1, -1)).float()
        return Features(features, features @ self.net.fc.weight.T)
