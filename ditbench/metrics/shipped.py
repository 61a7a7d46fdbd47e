"""The file of a classifier that comes with ditbench: safetensors, with `details` as JSON in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.metrics.extractors import Extractor, Features

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

METADATA = "ditbench"  # the entry of the file's metadata that holds `details`


def normalise(images: Tensor) -> Tensor:
    """A classifier's input: uint8 0..255 -> float32 [-1, 1], any shape."""
    return images.to(torch.float32) / 127.5 - 1


class ShippedClassifier(Extractor):
    """Features of a classifier whose weights come with ditbench.

    Args:
        weights: another file in place of the shipped one.

    Attributes:
        shape: (C, H, W) of its images.
        network: makes its network, of (features, logits).
        weights: the shipped file.
        stored: the type of the numbers in it.

    Raises:
        DitbenchError: exit code 1, when the file is missing, damaged or of another network.
    """

    shape: ClassVar[tuple[int, int, int]]
    network: ClassVar[type[nn.Module]]
    weights: ClassVar[Path]
    stored: ClassVar[torch.dtype] = torch.float32

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        with torch.device("meta"):  # no initialisation, which would draw from the global stream
            self.net = self.network()
        path = self.weights if weights is None else weights
        self.details = load_shipped(self.name, self.net, path, self.stored)
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def check_shape(cls, shape: tuple[int, ...]) -> None:
        """Refuse images of another shape."""
        if shape != cls.shape:
            wanted, given = (f"{H}x{W}x{C}" for C, H, W in (cls.shape, shape))
            raise DitbenchError(
                f"{cls.name} features want {wanted} images, got {given}",
                "use features for any image: --set metrics.features=inception",
            )

    def extract(self, images: Tensor) -> Features:
        """Features (N, F) and logits (N, K) of (N, C, H, W) uint8 images."""
        return Features(*self.net(normalise(images)))


def load_shipped(
    name: str, net: nn.Module, weights: Path, dtype: torch.dtype = torch.float32
) -> dict[str, str]:
    """Give a network the weights of a file, as float32.

    Args:
        name: the features' name in the registry, for errors.
        net: on the meta device, where it has drawn nothing from torch's global stream; gets the
            tensors of the file as its own.
        weights: the file; its tensors have the names and shapes of the network's.
        dtype: the type that they are stored in.

    Returns:
        What the file says of itself.

    Raises:
        DitbenchError: exit code 1, when the file is missing, damaged or of another network.
    """
    try:
        if weights.exists() and not weights.is_file():  # a pipe would be waited for
            raise ValueError("it is not a file")
        with safe_open(weights, framework="pt") as file:
            details: dict[str, str] = json.loads((file.metadata() or {})[METADATA])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        # `assign` takes any type as it is, and what is not a number would be scored with.
        for key, tensor in tensors.items():
            if tensor.dtype != dtype or not tensor.isfinite().all():
                stored = str(dtype).removeprefix("torch.")
                raise ValueError(f"{key} is not {stored}, or not finite")
        floats = {key: tensor.to(torch.float32) for key, tensor in tensors.items()}
        net.load_state_dict(floats, assign=True)
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise DitbenchError(
            f"cannot load the {name} features {weights}: {error}".splitlines()[0],
            f"make them again: ditbench features train {name}",
            EXIT_FAILED,
        ) from error
    return details


def shipped_file(tensors: Mapping[str, Tensor], details: Mapping[str, str]) -> bytes:
    """The content of such a file: the same bytes for the same tensors and details."""
    # One entry: safetensors writes several in an order that changes from one run to the next.
    return safetensors.torch.save(dict(tensors), {METADATA: json.dumps(details)})
