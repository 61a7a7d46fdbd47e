"""Switches of a model, which work with every strategy without its doing anything. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# What the blocks and the final layer normalise by: `layer` to mean 0 and variance 1, `rms` to a
# mean square of 1. Neither has a gain.
NormKind = Literal["layer", "rms"]


@dataclass(frozen=True)
class Switches:
    """What a model may do otherwise than the DiT paper's; the defaults are the paper's.

    Attributes:
        qk_norm: normalise queries and keys of every head, see `ditbench.models.heads.Heads`.
        norm: `layer`, or `rms` for the norm of Zhang & Sennrich 2019, arXiv 1910.07467, section 4.
        registers: learned tokens beside the image's, see `ditbench.models.layers.Registers`.
    """

    qk_norm: bool = False
    norm: NormKind = "layer"
    registers: int = 0


PAPER = Switches()
"""All off."""
