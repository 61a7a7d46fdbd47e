"""Extractors that were trained on photographs: they accept images of any size, grey or RGB."""

from __future__ import annotations

import re
import shlex
import sys
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ditbench.data.published import downloading
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.metrics.features.extractors import Extractor


class PhotographExtractor(Extractor):
    """A network and its weights, a state dict in a file of torch's format, or a DitbenchError."""

    title: ClassVar[str]  # of the network, in messages
    network: ClassVar[str]  # which features of which network; part of `details`
    resize: ClassVar[str]  # how images are resized; part of `details`
    # Where a missing file of weights is downloaded from; empty if it is not. Written out here: the
    # libraries that know it take seconds to import.
    url: ClassVar[str] = ""
    num_classes = None  # its classes, if it has any, are not those of the data set
    accepts = "grey or RGB, any size"

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        path = self.find_weights() if weights is None else Path(weights)
        try:
            self.net: Any = self.build(read_state(path))
        except DitbenchError:
            raise
        except OSError as error:
            what = f"cannot read {self.title} weights {path}: {error.strerror or error}"
            raise DitbenchError(what, self.weights_hint()) from error
        except Exception as error:  # a damaged file makes torch raise errors of any type
            what = f"{path} does not hold {self.title} weights ({type(error).__name__})"
            raise DitbenchError(what, self.weights_hint()) from error
        self.details = {"network": self.network, "resize": self.resize, "weights": path.name}
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def weights_file(cls) -> Path:
        """The file in torch's hub cache that is downloaded from `url`; it may be missing."""
        return cached(cls.url)

    @classmethod
    def weights_hint(cls) -> str:
        """The command that downloads the file."""
        return command(cls.url, cls.weights_file())

    @classmethod
    def find_weights(cls) -> Path:
        """The default file, downloaded if need be; every file that the extractor needs exists."""
        if cls.url and not (path := cls.weights_file()).is_file():
            fetch(cls.url, path, cls.title, cls.weights_hint())
        for path in cls.files():
            if not path.exists():
                what = f"{cls.name} features need {path}, which does not exist"
                raise DitbenchError(what, cls.weights_hint())
        return cls.weights_file()

    @classmethod
    def check_shape(cls, shape: tuple[int, ...]) -> None:
        """Accept grey or RGB images of any size."""
        if shape[0] not in (1, 3):
            what = f"{cls.name} features need grey or RGB images, got {shape[0]} channels"
            raise DitbenchError(what, "decode latents to images before they are scored")

    @abstractmethod
    def build(self, state: dict[str, Tensor]) -> nn.Module:
        """The network with these weights; it raises an error if they are not all of them."""


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict; nothing is executed. A damaged file raises any error."""
    if path.exists() and not path.is_file():  # reading a pipe would wait for a writer
        raise OSError("it is not a file")
    with warnings.catch_warnings():  # about the pickle protocol of files that fail anyway
        warnings.simplefilter("ignore", UserWarning)
        state = torch.load(path, map_location="cpu", weights_only=True)
    if not all(isinstance(name, str) and _is_valid(value) for name, value in state.items()):
        raise ValueError("invalid tensors")
    return dict(state)


def _is_valid(value: object) -> bool:
    """Whether it is a weight: finite floats, or a batch counter."""
    # Loading would cast integers silently, and NaN would show only in the scores after training.
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
        return False
    counter = value.dtype == torch.long and value.ndim == 0  # of batch normalisation
    return counter or (value.is_floating_point() and bool(value.isfinite().all()))


def resized(images: Tensor, side: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Resize (N, 1 or 3, H, W) uint8 to (N, 3, side, side) float32; mean and std per channel.

    Grey images become RGB images with equal channels. The resizing is bicubic, with antialiasing;
    its pixels stay in 0..255 and become (pixel - mean) / std.
    """
    pixels = images.expand(-1, 3, -1, -1).float()
    pixels = F.interpolate(pixels, (side, side), mode="bicubic", antialias=True).clamp(0, 255)
    shift, scale = (pixels.new_tensor(values).view(3, 1, 1) for values in (mean, std))
    return (pixels - shift) / scale


def cached(name: str) -> Path:
    """The path of a file of that name, or of a URL that ends in it, in torch's hub cache."""
    return Path(torch.hub.get_dir()) / "checkpoints" / name.rpartition("/")[2]


def command(url: str, path: Path) -> str:
    """The command that downloads a file."""
    return f"curl -L --create-dirs -o {shlex.quote(str(path))} {url}"


def fetch(url: str, path: Path, title: str, hint: str) -> None:
    """Download a file, whose name ends in the beginning of its SHA-256; else a DitbenchError."""
    sha = re.search(r"-([0-9a-f]{8,})\.pth$", url)
    prefix = sha.group(1) if sha else None
    try:
        with downloading():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), prefix, sys.stderr.isatty())
    except (OSError, RuntimeError) as error:  # no network, or a wrong hash
        what = f"no {title} weights: cannot download {url} ({error})"
        raise DitbenchError(what, hint, EXIT_FAILED) from error
