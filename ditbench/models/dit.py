"""The diffusion transformer (DiT) of Peebles & Xie 2022, for any conditioning block."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ditbench.models.blocks.base import Block, Conditioning
from ditbench.models.extras import Registers
from ditbench.models.init import initialize
from ditbench.models.layers import FinalLayer, LabelEmbedder, PatchEmbedder, Spec, TimestepEmbedder
from ditbench.models.ops import PLAIN, NormKind, Ops
from ditbench.models.sincos import sincos_positions
from ditbench.models.sizes import ModelSize, check_size


class DiT(nn.Module):
    """Patchify, embed, blocks, final layer, unpatchify (section 3.2).

    A DitbenchError if the patch size does not divide the input, or h or 4 do not divide D.
    """

    pos_embed: Tensor

    def __init__(
        self,
        block: type[Block],
        size: ModelSize,
        *,
        height: int,  # of the input, in pixels or latent cells
        width: int,
        channels: int,
        out_channels: int,  # twice `channels` where the variance is learned
        num_classes: int,  # labels are 0..num_classes - 1; `num_classes` is the null class
        mlp_ratio: float = 4.0,  # inner width of the MLP over D
        options: Mapping[str, int] | None = None,  # over the block's defaults
        qk_norm: bool = False,  # normalise queries and keys, see `QKV`
        norm: NormKind = "layer",
        registers: int = 0,  # number of register tokens, see `Registers`
        residual: torch.dtype | None = None,  # of tokens between blocks; None: the embeddings'
        ops: Ops = PLAIN,
        seed: int = 0,  # of the initial weights, see `ditbench.models.init`
    ) -> None:
        super().__init__()
        check_size(size, height, width)
        D, P = size.hidden_size, size.patch_size
        options = {**block.options(size), **(options or {})}
        spec = Spec(D, size.num_heads, mlp_ratio, size.depth, options, qk_norm, norm, ops)
        self.block_class = block
        self.input_shape = (channels, height, width)
        self.out_channels = out_channels
        self.patch_size = P
        self.grid = (height // P, width // P)
        self.residual = residual

        self.x_embedder = PatchEmbedder(spec, P, channels)
        self.t_embedder = TimestepEmbedder(spec) if block.reads_timestep else None
        self.y_embedder = LabelEmbedder(spec, num_classes) if block.reads_class else None
        # A constant, but published checkpoints contain it.
        self.register_buffer("pos_embed", torch.empty(1, self.grid[0] * self.grid[1], D))
        self.registers = Registers(D, registers) if registers else None
        self.blocks = nn.ModuleList(block(spec, index) for index in range(size.depth))
        self.shared = block.shared(spec)
        outputs = P * P * out_channels
        self.final_layer = FinalLayer(spec, outputs, adaptive=block.adaptive_final_layer)
        self.null_class = num_classes  # the label that means no class
        if not self.pos_embed.is_meta:
            self.initialize(seed)

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        """Set the positions and, from the seed, every weight."""
        self.pos_embed.copy_(sincos_positions(self.pos_embed.shape[-1], *self.grid))
        initialize(self, self.block_class.initial, seed)

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """Predict noise (and variance) or velocity: (N, out_channels, H, W).

        From noisy images x (N, C, H, W), timesteps t (N,) on the scale 0..999, whole or not, and
        labels y (N,) in 0..num_classes. A ValueError if x has another shape than the model's input.
        """
        if x.shape[1:] != self.input_shape:
            expected = ", ".join(map(str, self.input_shape))
            raise ValueError(f"expected x of shape (N, {expected}), got {tuple(x.shape)}")
        x = self.x_embedder(x) + self.pos_embed  # (N, T, D)
        x = x if self.residual is None else x.to(self.residual)
        T = x.shape[1]
        c = Conditioning.of(
            None if self.t_embedder is None else self.t_embedder(t),
            None if self.y_embedder is None else self.y_embedder(y),
        )
        if self.registers is not None:
            x = self.registers(x)
        shared = c if self.shared is None else self.shared(c)
        x = self.block_class.run_blocks(self.blocks, x, shared)[:, :T]
        return self.unpatchify(self.final_layer(x, self.block_class.final_vector(c)))

    def unpatchify(self, patches: Tensor) -> Tensor:
        """Put patches (N, T, P * P * C) back in place: (N, C, H, W)."""
        (rows, columns), P, C = self.grid, self.patch_size, self.out_channels
        patches = patches.view(-1, rows, columns, P, P, C).permute(0, 5, 1, 3, 2, 4)
        return patches.reshape(-1, C, rows * P, columns * P)
