"""The file of a classifier that comes with ditbench: safetensors, with `details` as JSON in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ditbench.errors import EXIT_FAILED, DitbenchError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

METADATA = "ditbench"  # the entry of the file's metadata that holds `details`


def normalise(images: Tensor) -> Tensor:
    """A classifier's input: uint8 0..255 -> float32 [-1, 1], any shape."""
    return images.to(torch.float32) / 127.5 - 1


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
