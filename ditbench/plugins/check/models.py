"""Models of the block that is checked, so small that a check takes milliseconds."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ditbench.models.blocks.base import Block
from ditbench.models.dit import DiT
from ditbench.models.sizes import ModelSize

CLASSES = 10


class Task(NamedTuple):
    """A model and a batch of images. N, C, T and D all differ, so that mixing them up fails."""

    size: ModelSize
    height: int
    width: int
    channels: int
    images: int

    @property
    def tokens(self) -> int:
        """T."""
        return self.height * self.width // self.size.patch_size**2

    @property
    def shape(self) -> dict[str, Any]:
        """The arguments of `DiT` and `count` that describe the images."""
        return {"height": self.height, "width": self.width, "channels": self.channels,
                "out_channels": 2 * self.channels, "num_classes": CLASSES}  # fmt: skip


USUAL = Task(ModelSize(hidden_size=32, depth=4, num_heads=4, patch_size=2), 12, 8, 3, images=5)
TASKS = (
    USUAL,
    Task(ModelSize(hidden_size=48, depth=1, num_heads=3, patch_size=1), 4, 5, 1, images=1),
    Task(ModelSize(hidden_size=16, depth=2, num_heads=1, patch_size=4), 32, 32, 4, images=3),
    Task(ModelSize(hidden_size=24, depth=3, num_heads=2, patch_size=8), 8, 8, 2, images=7),
)


def bare_model(block: type[Block], task: Task = USUAL) -> DiT:
    """A model without weights, on the meta device."""
    with torch.device("meta"):
        return DiT(block, task.size, **task.shape)


@torch.no_grad()
def new_model(block: type[Block], task: Task = USUAL, seed: int = 0) -> DiT:
    """An untrained model, built as for training; tensors that nothing initialises are NaN."""
    model = bare_model(block, task).to_empty(device="cpu")
    for value in (*model.parameters(), *model.buffers()):
        value.fill_(torch.nan if value.is_floating_point() else -1)
    model.initialize(seed)
    return model.eval()


@torch.no_grad()
def random_model(block: type[Block], task: Task = USUAL, seed: int = 0) -> DiT:
    """A model with random weights: the zeros of an untrained model would hide mistakes."""
    model = new_model(block, task)
    draws = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        weight.copy_(0.1 * torch.randn(weight.shape, generator=draws))
    return model


def inputs(task: Task = USUAL) -> tuple[Tensor, Tensor, Tensor]:
    """Images (N, C, H, W), timesteps (N,) and labels (N,) of a task."""
    draws = torch.Generator().manual_seed(1)
    x = torch.randn(task.images, task.channels, task.height, task.width, generator=draws)
    t = torch.randint(0, 1000, (task.images,), generator=draws).float()
    y = torch.randint(0, CLASSES + 1, (task.images,), generator=draws)
    return x, t, y


def tokens_of(model: DiT, *given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The tokens before and after all blocks (N, T, D), and the output (N, 2 C, H, W)."""
    seen: list[Tensor] = []
    embedded = model.x_embedder.register_forward_hook(
        lambda _module, _args, out: seen.append(out + model.pos_embed)
    )
    after = model.final_layer.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    with embedded, after:
        out = model(*given)
    return seen[0], seen[1], out
