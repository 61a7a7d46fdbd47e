"""The strategy that is checked, in models so tiny that a check is a matter of milliseconds."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ditbench.models.dit import DiT
from ditbench.models.sizes import ModelSize

if TYPE_CHECKING:
    from torch import Tensor

    from ditbench.models.blocks.base import Block

CLASSES = 10


class BrokenPromiseError(Exception):
    """A strategy does not keep to something.

    Args:
        reason: what is wrong, with expected and received, in a line.
        hint: what to do about it; empty for the check's own.
    """

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


@dataclass(frozen=True)
class Task:
    """A model and a batch: nothing of N, C, T and D is equal, so that mistakes show.

    Attributes:
        size: of the model.
        height: of the images.
        width: of the images.
        channels: of the images.
        images: of a batch.
    """

    size: ModelSize
    height: int
    width: int
    channels: int
    images: int

    @property
    def tokens(self) -> int:
        """T."""
        return self.height * self.width // self.size.patch_size**2

    def __str__(self) -> str:
        return f"{self.size.name} on {self.images} x {self.height}x{self.width}x{self.channels}"


USUAL = Task(ModelSize(hidden_size=32, depth=4, num_heads=4, patch_size=2), 12, 8, 3, images=5)
TASKS = (
    USUAL,
    Task(ModelSize(hidden_size=48, depth=1, num_heads=3, patch_size=1), 4, 5, 1, images=1),
    Task(ModelSize(hidden_size=16, depth=2, num_heads=1, patch_size=4), 32, 32, 4, images=3),
    Task(ModelSize(hidden_size=24, depth=3, num_heads=2, patch_size=8), 8, 8, 2, images=7),
)


@dataclass(frozen=True)
class Subject:
    """A strategy.

    Attributes:
        name: by which it is known.
        strategy: its class.
        file: where that is written, if anywhere.
    """

    name: str
    strategy: type[Block]
    file: str | None

    def model(self, task: Task = USUAL, seed: int = 0) -> DiT:
        """A model at its start, built as for training: without weights, then filled."""
        with torch.device("meta"):
            model = self.bare_model(task)
        model.to_empty(device="cpu")
        with torch.no_grad():
            for value in (*model.parameters(), *model.buffers()):
                value.fill_(torch.nan) if value.is_floating_point() else value.fill_(-1)
        model.initialize(seed)
        return model.eval()

    def bare_model(self, task: Task = USUAL) -> DiT:
        """A model where torch's context says: on the meta device it has no weights."""
        return DiT(
            self.name,
            task.size,
            height=task.height,
            width=task.width,
            channels=task.channels,
            out_channels=2 * task.channels,
            num_classes=CLASSES,
        )

    def random_model(self, task: Task = USUAL, seed: int = 0) -> DiT:
        """A model with random weights: where all starts at zero, mistakes do not show."""
        model = self.model(task)
        draws = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in model.parameters():
                weight.copy_(0.1 * torch.randn(weight.shape, generator=draws))
        return model

    def at(self, method: str) -> str:
        """Where a method is written, `my_block.py:17: `; empty where the class has none."""
        function = getattr(self.strategy, method)
        try:
            return f"{inspect.getsourcefile(function)}:{inspect.getsourcelines(function)[1]}: "
        except (OSError, TypeError):  # no source, as of a notebook
            return ""


def inputs(task: Task = USUAL, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Images (N, C, H, W), timesteps (N,) and labels (N,) of a task."""
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(task.images, task.channels, task.height, task.width, generator=draws)
    t = torch.randint(0, 1000, (task.images,), generator=draws).float()
    y = torch.randint(0, CLASSES + 1, (task.images,), generator=draws)
    return x, t, y


def tokens_of(model: DiT, *given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens before and after all blocks (N, T, D), and the output (N, 2 C, H, W)."""
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
