"""Features of Inception-v3, the network of the original FID: torch-fidelity's port, 2048 features.

Images are resized to 299x299 as TensorFlow 1 did, without antialiasing, as in the original FID.
The FID of torchmetrics antialiases by default since version 1.8, which gives other numbers.
"""

from __future__ import annotations

import io
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
from torchmetrics.image.fid import NoTrainInceptionV3

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.metrics.extractors import Extractor, Features


class InceptionV3(Extractor):
    """Inception-v3's 2048 pooled features; its ImageNet classes are not those of the data set.

    Args:
        weights: a state-dict file as published by torch-fidelity. None uses the file in torch's
            hub cache, as torch-fidelity does, and downloads it if it is missing.

    Raises:
        DitbenchError: exit code 1, when the download fails; exit code 2, when the file is missing
            or does not hold such weights.
    """

    name = "inception"
    num_features = 2048
    num_classes = None
    accepts = "grey or RGB, any size"
    cpu_batch = 4

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        path = download_weights() if weights is None else Path(weights)
        self.net = _network(path)
        self.details = {
            "network": "Inception-v3 (torch-fidelity), layer 2048",
            "resize": "299x299, bilinear as in TensorFlow 1, antialias=False",
            "weights": path.name,
        }
        self.requires_grad_(False)
        self.eval()

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

    @classmethod
    def check_shape(cls, shape: tuple[int, ...]) -> None:
        """Accept grey or RGB images of any size."""
        if shape[0] not in (1, 3):
            raise DitbenchError(
                f"inception features need grey or RGB images, got {shape[0]} channels",
                "decode latents to images before they are scored",
            )

    def extract(self, images: Tensor) -> Features:
        """Features (N, 2048); a grey image becomes an RGB image with three equal channels."""
        return Features(self.net(images.expand(-1, 3, -1, -1)).float(), None)


def download_weights() -> Path:
    """The weights in torch's hub cache, downloaded (91 MiB) if they are missing."""
    path = InceptionV3.weights_file()
    if path.is_file():
        return path
    # PyTorch's convention: the file name ends in the beginning of the SHA-256.
    sha = re.search(r"-([0-9a-f]{8,})\.pth$", path.name)
    prefix = sha.group(1) if sha else None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(URL_INCEPTION_V3, str(path), prefix, sys.stderr.isatty())
    except (OSError, RuntimeError) as error:  # URLError is an OSError, a wrong hash RuntimeError
        what = f"no Inception-v3 weights: cannot download {URL_INCEPTION_V3} ({error})"
        raise DitbenchError(what, InceptionV3.weights_hint(), EXIT_FAILED) from error
    return path


def _network(path: Path) -> NoTrainInceptionV3:
    """The network with the weights of a file. `weights_only` executes nothing in the file."""
    try:
        if path.exists() and not path.is_file():  # reading a pipe would wait for a writer
            raise OSError("it is not a file")
        with warnings.catch_warnings():  # about the pickle protocol of files that fail anyway
            warnings.simplefilter("ignore", UserWarning)
            state = torch.load(path, map_location="cpu", weights_only=True)
        if not all(isinstance(name, str) and _is_valid(value) for name, value in state.items()):
            raise ValueError("invalid tensors")
        # The constructor unpickles a file without restrictions, or downloads one. It gets a buffer
        # with the tensors that were read safely. The fork restores the global stream after its
        # initialisation.
        buffer: Any = io.BytesIO()
        torch.save(state, buffer)
        buffer.seek(0)
        with torch.random.fork_rng(devices=[]):
            return NoTrainInceptionV3("inception-v3-compat", ["2048"], buffer, antialias=False)
    except OSError as error:
        what = f"cannot read Inception-v3 weights {path}: {error.strerror or error}"
        raise DitbenchError(what, InceptionV3.weights_hint()) from error
    except Exception as error:  # a damaged file makes torch raise errors of any type
        kind = type(error).__name__
        what = f"{path} does not hold torch-fidelity's Inception-v3 weights ({kind})"
        raise DitbenchError(what, InceptionV3.weights_hint()) from error


def _is_valid(value: object) -> bool:
    """Whether torch-fidelity may have saved it: finite floats, or a batch counter."""
    # Loading would cast integers silently, and NaN would show only in the scores after training.
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
        return False
    counter = value.dtype == torch.long and value.ndim == 0  # of batch normalisation
    return counter or (value.is_floating_point() and bool(value.isfinite().all()))
