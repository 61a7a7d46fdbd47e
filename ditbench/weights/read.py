"""Files of weights, in every form that DiTs are published in. Nothing in a file is executed.

torch's files, of the zip and of the older format, are read as tensors and plain containers only; an
`argparse.Namespace`, in which the released training script keeps its options, counts as one.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from argparse import Namespace
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ditbench.data.io.files import POINTER, is_pointer
from ditbench.errors import DitbenchError, one_line
from ditbench.files import check_utf8
from ditbench.weights.names import Tensors, from_diffusers, is_diffusers

# Where the weights are in a directory: of a run, of a DiTPipeline, of its transformer.
_DIFFUSERS = "diffusion_pytorch_model"
_SUFFIXES = (".safetensors", ".bin")
PLACES = (
    "checkpoints/latest.safetensors",
    *(f"transformer/{_DIFFUSERS}{suffix}" for suffix in _SUFFIXES),
    *(f"{_DIFFUSERS}{suffix}" for suffix in _SUFFIXES),
)
# Parts of a file that hold a model's weights, the averaged ones first.
PARTS = ("ema", "model")
_WRAPPERS = ("module.", "_orig_mod.")  # of DistributedDataParallel and torch.compile
_HINT = (
    "name a DiT's weights: a .pt of the released code, a .safetensors, a folder of diffusers' "
    "DiTPipeline, or a run directory"
)
_REFUSED = re.compile(r"GLOBAL ([\w.]+)")
_UNPICKLER = "WeightsUnpickler error:"


def find_weights(path: Path) -> Path:
    """The file of the weights: the path itself, or the one in a run or a folder of diffusers."""
    check_utf8(path)
    if path.is_file():
        return path
    if not path.is_dir():
        what = "is not a file" if path.exists() else "does not exist"
        raise DitbenchError(f"{path} {what}", _HINT)
    for place in PLACES:
        if (path / place).is_file():
            return path / place
    raise DitbenchError(f"{path} holds no weights: none of {', '.join(PLACES)}", _HINT)


def digest(path: Path) -> str:
    """SHA-256 (hex) of the file of the weights."""
    file = find_weights(path)
    stat = file.stat()
    return _digest(file, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=16)
def _digest(file: Path, _changed: int, _size: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_weights(path: Path, device: str = "cpu") -> Tensors:
    """The weights at a path by the names of the released code, which are ours.

    On the device `meta` they have shapes only, and the file is not read as a whole. Raises a
    DitbenchError if it holds anything but the weights of one model.
    """
    file = find_weights(path)
    try:
        tensors = _unwrapped(_part(_read(file, device)))
        return from_diffusers(tensors) if is_diffusers(tensors) else tensors
    except DitbenchError as error:
        raise DitbenchError(f"{file}: {error.message}", error.hint) from error


def _read(file: Path, device: str) -> Any:
    """What a file holds."""
    with file.open("rb") as stream:
        start = stream.read(9)
    try:
        if start[8:] == b"{":  # after the length of the header
            return _safetensors(file, device)
        mapped = is_zipfile(file) or None  # not read where it is not needed: an optimizer's state
        with torch.serialization.safe_globals([Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other protocols, which are refused or read
            return torch.load(file, map_location=device, weights_only=True, mmap=mapped)
    except Exception as error:  # a damaged pickle raises anything
        if is_pointer(file):
            raise DitbenchError(*POINTER) from error
        raise DitbenchError(_reason(file, error), _HINT) from error


def _safetensors(file: Path, device: str) -> Tensors:
    with safe_open(file, framework="pt", device="cpu") as content:
        names = content.keys()
        if device != "meta":
            return {name: content.get_tensor(name) for name in names}
        shapes = {name: content.get_slice(name).get_shape() for name in names}
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def _reason(file: Path, error: Exception) -> str:
    """Why a file cannot be read, in one line."""
    text = str(error).partition(_UNPICKLER)[2] or str(error)
    if refused := _REFUSED.search(text):
        return f"it holds {refused[1]}, and only tensors and plain containers are read"
    if not isinstance(error, SafetensorError) and not is_zipfile(file):
        return "it is not a file of weights, or it is damaged"  # what torch says is of pickles
    kind = "safetensors" if isinstance(error, SafetensorError) else "weights"
    first = next(iter(text.strip().splitlines()), "it is empty")
    return f"it is not a file of {kind}, or it is damaged: {one_line(first, 200)}"


def _part(content: Any) -> Tensors:
    """The weights in what a file holds: its part `ema`, or `model`, or all of it."""
    if isinstance(content, Mapping):
        parts = (_below(content, part) for part in PARTS)
        content = next(filter(None, parts), content)
    if not isinstance(content, Mapping) or not content:
        raise DitbenchError(f"it holds {_kind(content)}, not the weights of a model", _HINT)
    for name, value in content.items():
        dense = isinstance(value, Tensor) and value.layout == torch.strided
        if not (isinstance(name, str) and dense and value.is_floating_point()):
            what = f"{one_line(str(name), 60)} is {_kind(value)}, not a dense tensor of numbers"
            raise DitbenchError(what, _HINT)
    return dict(content)


def _below(content: Mapping[Any, Any], part: str) -> Mapping[Any, Any]:
    """What has the name of a part, or, in a checkpoint of a run, names that begin with it."""
    below = content.get(part)
    if isinstance(below, Mapping):
        return below
    return {n[len(part) + 1 :]: v for n, v in content.items() if str(n).startswith(f"{part}.")}


def _kind(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    words = (str(each).removeprefix("torch.") for each in (value.dtype, value.layout))
    return f"a tensor, {' '.join(words)}"


def _unwrapped(tensors: Tensors) -> Tensors:
    """The weights without the prefix of a wrapper that all names have."""
    for prefix in _WRAPPERS:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors
