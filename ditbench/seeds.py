"""One random generator a purpose, so that changing one thing never moves the draws of another."""

from __future__ import annotations

import hashlib

import torch


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for a purpose, such as ("init", "blocks.0.attn.qkv.weight")."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


def generator(
    seed: int, *purpose: str | int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A generator of its own for a purpose; the global stream is never used."""
    return torch.Generator(device=device).manual_seed(derive_seed(seed, *purpose))
