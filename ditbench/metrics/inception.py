"""Features of Inception-v3, the network of the original FID: torch-fidelity's port, 2048 features.

Images are resized to 299x299 as TensorFlow 1 did, without antialiasing, as in the original FID;
torchmetrics' own FID antialiases by default since 1.8, which gives other numbers.
"""

from __future__ import annotations

import io
import re
import sys
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
from torchmetrics.image.fid import NoTrainInceptionV3

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.metrics.extractors import Extractor, Features

ANTIALIAS = False
FILE_NAME = Path(urlparse(URL_INCEPTION_V3).path).name
OPTION = "--set metrics.inception_weights=PATH"


class InceptionV3(Extractor):
    """Inception-v3's 2048 pooled features; its ImageNet classes are not the data set's.

    Args:
        weights: a state-dict file as torch-fidelity publishes it; None looks into torch's hub
            cache, where torch-fidelity keeps it too, and downloads it there.

    Raises:
        DitbenchError: exit code 1, when there are no weights and no network; exit code 2, when the
            given file is missing or does not hold such weights.
    """

    name = "inception"
    num_features = 2048
    num_classes = None

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        path = find_weights() if weights is None else Path(weights)
        self.net = _network(_read_state_dict(path), path)
        self.details = {
            "network": "Inception-v3 (torch-fidelity), layer 2048",
            "resize": "299x299, bilinear as in TensorFlow 1, antialias=False",
            "weights": path.name,
        }
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def check_shape(cls, shape: tuple[int, ...]) -> None:
        """Refuse images that are neither grey nor RGB; any size will do."""
        if shape[0] not in (1, 3):
            raise DitbenchError(
                f"inception features want grey or RGB images, got {shape[0]} channels",
                "decode latents to images before they are scored",
            )

    def extract(self, images: Tensor) -> Features:
        """Features (N, 2048); a grey image is shown as an RGB one with three equal channels."""
        return Features(self.net(images.expand(-1, 3, -1, -1)).float(), None)


def cached_weights() -> Path:
    """Where torch-fidelity, and so ditbench, keeps the file."""
    return Path(torch.hub.get_dir()) / "checkpoints" / FILE_NAME


def find_weights() -> Path:
    """The weights in torch's hub cache, downloaded if need be (91 MiB).

    Raises:
        DitbenchError: exit code 1, when the download fails; it says which file to put where.
    """
    path = cached_weights()
    if path.is_file():
        return path
    # torch's publishers put the beginning of the file's SHA-256 into its name.
    sha = re.search(r"-([0-9a-f]{8,})\.pth$", FILE_NAME)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(
            URL_INCEPTION_V3, str(path), sha.group(1) if sha else None, sys.stderr.isatty()
        )
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong hash a RuntimeError
        raise DitbenchError(
            f"no Inception-v3 weights: cannot download {URL_INCEPTION_V3} ({error})",
            f"put {FILE_NAME} into {path.parent}, or name the file: {OPTION}",
            EXIT_FAILED,
        ) from error
    return path


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read named tensors and nothing else: `weights_only` executes nothing of the file."""
    hint = f"name the file {FILE_NAME}: {OPTION}"
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for a writer
            raise DitbenchError(f"Inception-v3 weights {path} are not a file", hint)
        with warnings.catch_warnings():  # of the pickle protocol of files that are refused anyway
            warnings.simplefilter("ignore", UserWarning)
            state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DitbenchError(
            f"cannot read Inception-v3 weights {path}: {error.strerror or error}", hint
        ) from error
    except DitbenchError:
        raise
    except Exception as error:  # torch's readers raise whatever a damaged file provokes
        raise _not_weights(path) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise _not_weights(path)
    if not all(isinstance(name, str) for name in state):
        raise _not_weights(path)
    # A cast would hide whole numbers, and a score of NaN would come only after the training.
    if not all(_is_sound(tensor) for tensor in state.values()):
        raise _not_weights(path)
    return state


def _is_sound(tensor: Tensor) -> bool:
    """Whether it is of the kind that torch-fidelity saves: finite floats, or a counter."""
    if tensor.layout != torch.strided or tensor.is_meta:
        return False
    counter = tensor.dtype == torch.long and tensor.ndim == 0  # of batches, in batch normalisation
    return counter or (tensor.is_floating_point() and bool(tensor.isfinite().all()))


def _network(state: dict[str, Tensor], path: Path) -> NoTrainInceptionV3:
    # The constructor reads a file with pickle's full powers, or downloads it. It is handed the
    # tensors that have been read safely; its throw-away initialisation leaves no trace in the
    # global stream.
    buffer: Any = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    try:
        with torch.random.fork_rng(devices=[]):
            return NoTrainInceptionV3("inception-v3-compat", ["2048"], buffer, antialias=ANTIALIAS)
    except RuntimeError as error:
        raise _not_weights(path) from error


def _not_weights(path: Path) -> DitbenchError:
    return DitbenchError(
        f"{path} does not hold torch-fidelity's Inception-v3 weights",
        f"download {URL_INCEPTION_V3} again and put it there, or name the file: {OPTION}",
    )
