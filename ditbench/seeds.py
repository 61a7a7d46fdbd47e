"""Random numbers: one generator per purpose, so that a change in one never shifts another's draws.

torch's global stream is never used.
"""

from __future__ import annotations

import hashlib

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


def normal_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """Float32 standard normal noise of x's shape, on x's device.

    It is drawn on the generator's device: a CPU generator gives the same noise for every device.
    """
    noise = torch.randn(x.shape, generator=generator, device=generator.device)
    # The copy to CUDA may overlap: the source is staged before the call returns.
    return noise.to(x.device, non_blocking=x.is_cuda)
