"""Tiny models, and inputs for them and for their blocks."""

import torch

from ditbench.models.blocks.base import Conditioning
from ditbench.models.cost import count
from ditbench.models.dit import DiT
from ditbench.models.registry import block_class
from ditbench.models.sizes import ModelSize, parse_model

N, T, D, HEADS = 3, 16, 32, 4
SIZE = ModelSize(hidden_size=D, depth=4, num_heads=HEADS, patch_size=2)


def make(block, size=SIZE, *, channels=1, out_channels=1, num_classes=10, **settings):
    """A model for images of 8x8 pixels."""
    shape = {"height": 8, "width": 8, "channels": channels, "out_channels": out_channels}
    return DiT(block_class(block), size, **shape, num_classes=num_classes, **settings)


def randomized(module, scale=0.1):
    """Change every weight: zeros, as at the start, would hide mistakes."""
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(scale * torch.randn(weight.shape, generator=draws))
    return module


def inputs(n=4, channels=1):
    """Images, timesteps and labels."""
    x = torch.randn(n, channels, 8, 8, generator=torch.Generator().manual_seed(1))
    return x, torch.arange(n) * 250, torch.arange(n)


def cost(block, model, **settings):
    """The cost of a model of latents of 32x32x4."""
    shape = {"height": 32, "width": 32, "channels": 4}
    return count(block_class(block), parse_model(model), **shape, **settings)


def tokens():
    """Tokens (N, T, D), and the embeddings of timesteps and labels."""
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(N, T, D, generator=draws)
    return x, Conditioning.of(*torch.randn(2, N, D, generator=draws))


def run_blocks(model, x, c):
    """The image tokens after all blocks, which receive only what the block declares to read."""
    block = model.block_class
    read = Conditioning.of(
        c.t if block.reads_timestep else None, c.c if block.reads_class else None
    )
    shared = read if model.shared is None else model.shared(read)
    return block.run_blocks(model.blocks, x, shared)[:, :T]
