"""Extractors whose weights are part of ditbench: safetensors files with `details` as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.metrics.extractors import Extractor, Features

METADATA = "ditbench"  # the entry of the file's metadata that holds `details`


def normalise(images: Tensor) -> Tensor:
    """The input of a classifier: uint8 0..255 -> float32 [-1, 1], any shape."""
    return images.to(torch.float32) / 127.5 - 1


class ShippedClassifier(Extractor):
    """Features of a classifier whose weights are part of ditbench.

    Args:
        weights: a file to use instead of the shipped one.

    Attributes:
        shape: (C, H, W) of its images.
        network: the class of its network, which returns (features, logits).
        stored: the dtype of the tensors in the file.

    Raises:
        DitbenchError: exit code 1, when the file is missing, damaged or of another network.
    """

    shape: ClassVar[tuple[int, int, int]]
    network: ClassVar[type[nn.Module]]
    stored: ClassVar[torch.dtype] = torch.float32

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        with torch.device("meta"):  # no initialisation, which would draw from the global stream
            self.net = self.network()
        self._load(weights or self.weights_file())
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def weights_file(cls) -> Path:
        """The shipped file."""
        return Path(__file__).parent / "weights" / f"{cls.name}.safetensors"

    @classmethod
    def weights_hint(cls) -> str:
        """The file comes with ditbench."""
        return "the file is part of ditbench: install ditbench again"

    @classmethod
    def check_shape(cls, shape: tuple[int, ...]) -> None:
        """Accept images of exactly one shape."""
        if shape != cls.shape:
            wanted, given = (f"{H}x{W}x{C}" for C, H, W in (cls.shape, shape))
            raise DitbenchError(
                f"{cls.name} features need {wanted} images, got {given}",
                "use features for images of any size: --set metrics.features=inception",
            )

    def extract(self, images: Tensor) -> Features:
        """Features (N, F) and logits (N, K) of (N, C, H, W) uint8 images."""
        return Features(*self.net(normalise(images)))

    def _load(self, path: Path) -> None:
        """Give the network the file's tensors, as float32, and read its `details`."""
        try:
            if path.exists() and not path.is_file():  # reading a pipe would wait for a writer
                raise ValueError("it is not a file")
            with safe_open(path, framework="pt") as file:
                self.details = json.loads((file.metadata() or {})[METADATA])
                if not isinstance(self.details, dict):
                    raise TypeError("its details are not an object")
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            # `assign` accepts any dtype and any value, NaN included.
            for key, tensor in tensors.items():
                if tensor.dtype != self.stored or not tensor.isfinite().all():
                    stored = str(self.stored).removeprefix("torch.")
                    raise ValueError(f"{key} is not {stored}, or not finite")
            floats = {key: tensor.to(torch.float32) for key, tensor in tensors.items()}
            self.net.load_state_dict(floats, assign=True)
        except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
            raise DitbenchError(
                f"cannot load the {self.name} features {path}: {error}".splitlines()[0],
                self.weights_hint(),
                EXIT_FAILED,
            ) from error
