"""Random numbers: one generator per purpose, so that a change in one never shifts another's draws.

torch's global stream is never used.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for a purpose, such as ("init", "blocks.0.attn.qkv.weight")."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


def generator(
    seed: int, *purpose: str | int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A new generator for a purpose."""
    return torch.Generator(device=device).manual_seed(derive_seed(seed, *purpose))


@dataclass(frozen=True)
class PartOf:
    """A generator whose draws are for `count` items, of which this process needs a part."""

    generator: torch.Generator
    count: int
    part: slice


Draws = torch.Generator | PartOf


def normal_like(x: Tensor, generator: Draws) -> Tensor:
    """Float32 standard normal noise of x's shape (N, ...), on x's device.

    It is drawn on the generator's device: a CPU generator gives the same noise for every device.
    """
    if isinstance(generator, PartOf):
        whole = x.new_empty(generator.count, *x.shape[1:])
        return normal_like(whole, generator.generator)[generator.part]
    noise = torch.randn(x.shape, generator=generator, device=generator.device)
    # The copy to CUDA may overlap: the source is staged before the call returns.
    return noise.to(x.device, non_blocking=x.is_cuda)
