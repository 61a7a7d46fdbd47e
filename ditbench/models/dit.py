"""The diffusion transformer (DiT) of Peebles & Xie 2022, open to any conditioning strategy."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ditbench.errors import DitbenchError
from ditbench.models.blocks.base import Conditioning, Spec
from ditbench.models.heads import Heads
from ditbench.models.init import initialize
from ditbench.models.layers import (
    AdaptiveFinalLayer,
    FinalLayer,
    LabelEmbedder,
    PatchEmbedder,
    Registers,
    TimestepEmbedder,
    sincos_positions,
)
from ditbench.models.ops import add
from ditbench.models.stream import in_norm
from ditbench.models.switches import PAPER
from ditbench.plugins.lookup import find_block
from ditbench.plugins.options import check_options, own_options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ditbench.models.sizes import ModelSize
    from ditbench.models.switches import NormKind, Switches


# Far beyond any DiT, and small enough that nothing overflows on the way to saying so.
MAX_DIMENSION = 65_536


class DiT(nn.Module):
    """Patchify, embed, blocks, final layer, unpatchify.

    Args:
        block: the name of a conditioning strategy.
        size: hidden size D, depth, heads and patch size P.
        height: of the input, in pixels or latent cells; P divides it.
        width: likewise.
        channels: of the input.
        out_channels: of the output; twice `channels` where the variance is learned.
        num_classes: labels are 0..num_classes - 1, and `num_classes` is the null class.
        mlp_ratio: inner width of the MLP over D.
        options: of the strategy, as pairs of name and value; see `Block.options`.
        switches: what is otherwise than in the paper, whatever the strategy.
        seed: of the initial weights, see `ditbench.models.init`.

    Raises:
        DitbenchError: when P does not divide the input, the heads do not divide D, or 4 does not,
            or for an option that the strategy does not have.
    """

    def __init__(
        self,
        block: str,
        size: ModelSize,
        *,
        height: int,
        width: int,
        channels: int,
        out_channels: int,
        num_classes: int,
        mlp_ratio: float = 4.0,
        options: Iterable[tuple[str, int]] = (),
        switches: Switches = PAPER,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_shape(size, height, width)
        D, P = size.hidden_size, size.patch_size
        given = dict(options)
        check_options([block], size, given)
        spec = Spec(
            D, size.num_heads, mlp_ratio, size.depth, options=own_options(block, size, given)
        )
        self.block_class = find_block(block)
        self.patch_size = P
        self.out_channels = out_channels
        self.num_classes = num_classes
        self.grid = (height // P, width // P)

        final_layer = AdaptiveFinalLayer if self.block_class.adaptive_final_layer else FinalLayer
        self.x_embedder = PatchEmbedder(P, channels, D)
        self.t_embedder = TimestepEmbedder(D) if self.block_class.reads_timestep else None
        self.y_embedder = LabelEmbedder(num_classes, D) if self.block_class.reads_class else None
        # A constant, and yet saved: published checkpoints hold it.
        self.register_buffer("pos_embed", torch.empty(1, self.grid[0] * self.grid[1], D))
        self.blocks = nn.ModuleList(self.block_class(spec, index) for index in range(size.depth))
        self.shared = self.block_class.shared(spec)
        self.registers = Registers(switches.registers, D) if switches.registers else None
        self.final_layer = final_layer(D, P, out_channels, switches.norm)
        self._switch(switches)
        if not self.pos_embed.is_meta:
            self.initialize(seed)

    pos_embed: Tensor

    def _switch(self, switches: Switches) -> None:
        """Have layers and blocks do what the switches say: no strategy has to pass them on."""
        if switches.qk_norm:
            # Listed before: each gets modules of its own.
            for layer in [each for each in self.modules() if isinstance(each, Heads)]:
                layer.normalise()
        if switches.norm != "layer":
            for block in self.blocks:
                block.register_forward_pre_hook(partial(_tell_norm, switches.norm))

    @property
    def null_class(self) -> int:
        """The label that stands for no class."""
        return self.num_classes

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        """Set the positions and, from the seed, every weight."""
        self.pos_embed.copy_(sincos_positions(self.pos_embed.shape[-1], *self.grid))
        initialize(self, seed)

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """Predict noise (and variance) or velocity.

        Args:
            x: noisy images (N, C, H, W).
            t: timesteps (N,) on the scale 0..999, whole or not.
            y: labels (N,) in 0..num_classes, the last being the null class.

        Returns:
            (N, out_channels, H, W).
        """
        tokens = add(self.pos_embed.expand(len(x), -1, -1), self.x_embedder(x))  # (N, T, D)
        c = Conditioning.of(
            None if self.t_embedder is None else self.t_embedder(t),
            None if self.y_embedder is None else self.y_embedder(y),
        )
        told = c if self.shared is None else self.shared(c)
        image = tokens.shape[1]
        if self.registers is not None:
            tokens = self.registers(tokens)
        tokens = self.block_class.chain(list(self.blocks), tokens, told)[:, :image]
        return self.unpatchify(self.final_layer(tokens, self.block_class.final_vector(c)))

    def unpatchify(self, patches: Tensor) -> Tensor:
        """Put patches (N, T, P * P * C) back in place: (N, C, H, W)."""
        rows, columns = self.grid
        P, C = self.patch_size, self.out_channels
        grid = patches.view(-1, rows, columns, P, P, C).permute(0, 5, 1, 3, 2, 4)
        return grid.reshape(-1, C, rows * P, columns * P)


def _tell_norm(kind: NormKind, _block: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a block is given, its streams in the model's norm, which `chain` did not know."""
    streams, *told = given
    return in_norm(kind, streams), *told


def check_shape(size: ModelSize, height: int, width: int) -> None:
    """Refuse a model that cannot be built, in words of its name; see `DiT`."""
    P, D = size.patch_size, size.hidden_size
    if max(D, size.depth, height // P * (width // P)) > MAX_DIMENSION:
        raise DitbenchError(
            f"{size.name} on {height}x{width} is too large",
            f"hidden size, depth and number of tokens go up to {MAX_DIMENSION:,}",
        )
    if height % P or width % P:
        raise DitbenchError(
            f"patch size {P} does not divide {height}x{width}",
            f"choose one that does: --model {D}x{size.depth}x{size.num_heads}/1",
        )
    if D % size.num_heads:
        raise DitbenchError(
            f"{size.num_heads} heads do not divide hidden size {D}",
            "hidden size is a multiple of the number of heads",
        )
    if D % 4:
        raise DitbenchError(
            f"hidden size {D} is not a multiple of 4",
            "2-D sine-cosine positions need sines and cosines for rows and columns",
        )
