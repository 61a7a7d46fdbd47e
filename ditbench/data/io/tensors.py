"""Tensors cached on disk as safetensors. A cache only saves time: no fault of it is an error."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ditbench.errors import DitbenchError
from ditbench.files import write_atomically


def digest_of(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """SHA-256 (hex) over a text and named tensors, on any device."""
    sha = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        sha.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # As bytes: numpy has no bfloat16, and a memoryview needs one dimension at least.
        content: Any = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        sha.update(content.data)
    return sha.hexdigest()


def read_tensors(path: Path, key: Mapping[str, str]) -> dict[str, Tensor] | None:
    """The cached tensors; None unless the file is undamaged and was written with this key."""
    try:
        if not path.is_file():  # opening a pipe waits for a writer
            return None
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            content = metadata.pop("content", None)
            if metadata != key:
                return None
            # Copies: the mapped file may be replaced or removed later.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, TypeError, ValueError, RuntimeError):
        return None
    return tensors if content == digest_of(tensors) else None


def write_tensors(path: Path, key: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
    """Replace what is cached at `path`, if the place can be written."""
    data = save(dict(tensors), {**key, "content": digest_of(tensors)})
    with suppress(DitbenchError):
        write_atomically(path, lambda file: file.write(data))
