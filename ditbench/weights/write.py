"""Files of weights, written: by the names of the released code, or as diffusers loads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors.torch import save

from ditbench.errors import DitbenchError
from ditbench.files import read_json, write_json, write_output
from ditbench.weights.names import Tensors
from ditbench.weights.recognise import Recognised

SUFFIXES = (".pt", ".safetensors")
# Of diffusers: the class, and the names of its files.
DIT, CONFIG, WEIGHTS = "DiTTransformer2DModel", "config.json", "diffusion_pytorch_model"


def check_suffix(path: Path) -> None:
    """Refuse a file of another kind."""
    if path.suffix not in SUFFIXES:
        what = f"cannot write weights as '{path}'"
        raise DitbenchError(what, f"end -o with {' or '.join(SUFFIXES)}")


def write_configuration(path: Path, found: Recognised) -> None:
    """Write the config.json of diffusers beside weights.

    A DitbenchError if there is one of another model, or a link, such as those in the cache of
    Hugging Face: neither the link nor the file it leads to is what the user named.
    """
    path, hint = path.with_name(CONFIG), f"write to a folder: -o dit/{WEIGHTS}.safetensors"
    if path.is_symlink():
        raise DitbenchError(f"{path} is a link to {path.readlink()}", hint)
    if path.exists() and read_json(path, hint).get("_class_name") != DIT:
        raise DitbenchError(f"{path} is not of a DiT", hint)
    assert found.num_heads is not None
    facts = {
        "_class_name": DIT,
        "num_attention_heads": found.num_heads,
        "attention_head_dim": found.hidden_size // found.num_heads,
        "in_channels": found.channels,
        "out_channels": found.outputs,
        "num_layers": found.depth,
        "sample_size": found.side,
        "patch_size": found.patch_size,
        "num_embeds_ada_norm": found.embeddings - 1,  # without the null class
    }
    write_json(path, facts)


def write_weights(path: Path, tensors: Tensors) -> None:
    """Write float32 weights, contiguous and on the CPU, by the suffix of the path."""
    check_suffix(path)
    whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    writers: dict[str, Callable[[BinaryIO], object]] = {
        ".pt": lambda file: torch.save(whole, file),
        ".safetensors": lambda file: file.write(save(whole, {"format": "pt"})),
    }
    write_output(path, writers[path.suffix])
