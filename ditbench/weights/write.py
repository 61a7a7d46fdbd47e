"""Files of weights, written: by the names of the released code, or as diffusers loads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors.torch import save

from ditbench.errors import DitbenchError
from ditbench.files import write_atomically
from ditbench.weights.names import Tensors

SUFFIXES = (".pt", ".safetensors")


def check_suffix(path: Path) -> None:
    """Refuse a file of another kind."""
    if path.suffix not in SUFFIXES:
        raise DitbenchError(
            f"cannot write weights as '{path}'", f"end -o with {' or '.join(SUFFIXES)}"
        )


def write_weights(path: Path, tensors: Tensors) -> None:
    """Write float32 weights, contiguous and on the CPU, by the suffix of the path."""
    check_suffix(path)
    whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    writers: dict[str, Callable[[BinaryIO], object]] = {
        ".pt": lambda file: torch.save(whole, file),
        ".safetensors": lambda file: file.write(save(whole, {"format": "pt"})),
    }
    write_atomically(path, writers[path.suffix])
