"""The block that is checked, in models so small that a check takes milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ditbench.models.dit import DiT
from ditbench.models.sizes import ModelSize

if TYPE_CHECKING:
    from torch import Tensor

    from ditbench.models.blocks.base import Block

CLASSES = 10


class CheckError(Exception):
    """A block fails a check.

    Args:
        reason: what is wrong, with what was expected and received, in one line.
        hint: what to do about it; empty for the hint of the check.
    """

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


def require(condition: bool, reason: str, hint: str = "") -> None:  # noqa: FBT001
    """Raise a `CheckError` unless a condition holds."""
    if not condition:
        raise CheckError(reason, hint)


class Task(NamedTuple):
    """A model and a batch of images. N, C, T and D all differ: mixing them up is an error."""

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


@dataclass(frozen=True)
class Subject:
    """The class of the block that is checked, and its file, if it has one."""

    block: type[Block]
    file: str | None

    def bare_model(self, task: Task = USUAL) -> DiT:
        """A model without weights, on the meta device."""
        with torch.device("meta"):
            return DiT(self.block, task.size, **task.shape)

    def model(self, task: Task = USUAL, seed: int = 0) -> DiT:
        """A model at its start, built as for training; what nothing initialises is NaN."""
        model = self.bare_model(task).to_empty(device="cpu")
        with torch.no_grad():
            for value in (*model.parameters(), *model.buffers()):
                value.fill_(torch.nan if value.is_floating_point() else -1)
        model.initialize(seed)
        return model.eval()

    def random_model(self, task: Task = USUAL, seed: int = 0) -> DiT:
        """A model with random weights: zeros, as at the start, would hide mistakes."""
        model = self.model(task)
        draws = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in model.parameters():
                weight.copy_(0.1 * torch.randn(weight.shape, generator=draws))
        return model


def inputs(task: Task = USUAL, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Images (N, C, H, W), timesteps (N,) and labels (N,) of a task."""
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(task.images, task.channels, task.height, task.width, generator=draws)
    t = torch.randint(0, 1000, (task.images,), generator=draws).float()
    y = torch.randint(0, CLASSES + 1, (task.images,), generator=draws)
    return x, t, y


def tokens_of(model: DiT, *given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The tokens before and after all blocks (N, T, D), and the output (N, 2 C, H, W)."""
    seen: list[Tensor] = []
    hooks = (
        model.x_embedder.register_forward_hook(
            lambda _module, _args, out: seen.append(out + model.pos_embed)
        ),
        model.final_layer.register_forward_pre_hook(lambda _module, args: seen.append(args[0])),
    )
    try:
        out = model(*given)
    finally:
        for hook in hooks:
            hook.remove()
    return seen[0], seen[1], out
