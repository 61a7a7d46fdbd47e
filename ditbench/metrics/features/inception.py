"""Features of Inception-v3, the network of the original FID: torch-fidelity's port, 2048 features.

Images are resized to 299x299 as TensorFlow 1 did, without antialiasing, as in the original FID.
The FID of torchmetrics antialiases by default since version 1.8, which gives other numbers.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
from torchmetrics.image.fid import NoTrainInceptionV3

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.metrics.features.extractors import Features
from ditbench.metrics.features.photographs import PhotographExtractor


class InceptionV3(PhotographExtractor):
    """Inception-v3's 2048 pooled features, and its logits without the bias (as for its score).

    Args:
        weights: a state-dict file as published by torch-fidelity. None uses the file in torch's
            hub cache, as torch-fidelity does, and downloads it if it is missing.

    Raises:
        DitbenchError: exit code 1, when the download fails; exit code 2, when the file is missing
            or does not hold such weights.
    """

    name = "inception"
    title = "torch-fidelity's Inception-v3"
    num_features = 2048
    cpu_batch = 4
    network = "Inception-v3 (torch-fidelity), layer 2048"
    resize = "299x299, bilinear as in TensorFlow 1, antialias=False"

    @classmethod
    def find_weights(cls) -> Path:
        """The file in torch's hub cache, downloaded (91 MiB) if it is missing."""
        path = cls.weights_file()
        if path.is_file():
            return path
        # PyTorch's convention: the file name ends in the beginning of the SHA-256.
        sha = re.search(r"-([0-9a-f]{8,})\.pth$", path.name)
        prefix = sha.group(1) if sha else None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(URL_INCEPTION_V3, str(path), prefix, sys.stderr.isatty())
        except (OSError, RuntimeError) as error:  # no network, or a wrong hash
            what = f"no Inception-v3 weights: cannot download {URL_INCEPTION_V3} ({error})"
            raise DitbenchError(what, cls.weights_hint(), EXIT_FAILED) from error
        return path

    @classmethod
    def weights_file(cls) -> Path:
        """The file in torch's hub cache, where torch-fidelity expects it."""
        return Path(torch.hub.get_dir()) / "checkpoints" / Path(URL_INCEPTION_V3).name

    @classmethod
    def weights_hint(cls) -> str:
        """The file to download, and where to put it."""
        return (
            f"download {URL_INCEPTION_V3} to {cls.weights_file()}, "
            "or name the file: --set metrics.inception_weights=PATH"
        )

    def build(self, state: dict[str, Tensor]) -> nn.Module:
        """The network of torchmetrics, without antialiasing."""
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
