"""Small models, and files of their weights."""

import argparse

import torch

from ditbench.models.dit import DiT
from ditbench.models.registry import block_class
from ditbench.models.sizes import ModelSize

SIZE = ModelSize(32, 3, 4, 2)


INPUT = {"height": 8, "width": 8, "channels": 4, "out_channels": 8, "num_classes": 5}


def arguments(block="adaln-zero", size=SIZE, **other):
    return {"block": block_class(block), "size": size, **INPUT, **other}


def random_dit(**other):
    """A model whose every weight is drawn: zeros would hide what is mixed up."""
    model = DiT(**arguments(**other)).eval()
    draws = torch.Generator().manual_seed(1)
    for weight in model.parameters():
        weight.data = torch.randn(weight.shape, generator=draws) / weight.shape[-1] ** 0.5
    return model


def saved(path, content, *, zipped=True):
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def released(dit):
    """What the released training script saves."""
    state = dit.state_dict()
    options = argparse.Namespace(model="DiT-S/2", image_size=256, lr=1e-4, cfg=None)
    other = {name: torch.zeros_like(value) for name, value in state.items()}
    optimizer = torch.optim.AdamW(dit.parameters()).state_dict()
    return {"model": other, "ema": state, "opt": optimizer, "args": options}
