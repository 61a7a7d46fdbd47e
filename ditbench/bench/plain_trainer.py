"""A plain training step: how the models of peers are trained."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ditbench.data.dataset import to_model
from ditbench.seeds import generator

if TYPE_CHECKING:
    from ditbench.runs.plan import Plan

EMA_DECAY = 0.9999


class PlainTrainer:
    """Batch, autocast, loss, gradient, fused AdamW, and an EMA in one call for all weights.

    Only the images and the loss of the objective are ditbench's own. As in our training, the images
    stay on the device.

    Args:
        model: called with (x, t, y); on the device of the plan, in training mode.
        plan: what is trained. Its model is not used.

    Attributes:
        average: the model with the EMA weights.
    """

    def __init__(self, model: nn.Module, plan: Plan) -> None:
        config = plan.config
        self.model = model
        self.objective = plan.objective
        self.device = plan.device
        self.bf16 = config.train.precision == "bf16"
        self.average = copy.deepcopy(model).requires_grad_(requires_grad=False).eval()
        self.weights: list[Tensor] = list(model.parameters())
        self.averages: list[Tensor] = list(self.average.parameters())
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=config.train.lr, weight_decay=config.train.weight_decay, fused=True
        )
        self.images = plan.dataset.images.to(plan.device)
        self.labels = plan.dataset.labels.to(plan.device)
        self.batch_size = config.train.batch_size
        self.draws = generator(config.seed, "bench", "peer", device=plan.device)

    def update(self) -> None:
        """Make one training step, without synchronizing."""
        index = torch.randint(
            len(self.images), (self.batch_size,), generator=self.draws, device=self.device
        )
        x, y = to_model(self.images[index]), self.labels[index]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            t, noise = self.objective.draw(x, self.draws)
            loss = self.objective.loss_at(self.model, x, y, t, noise)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.averages, self.weights, 1 - EMA_DECAY)

    def compile(self) -> None:
        """Compile both models, each when it is first called."""
        self.model.compile()
        self.average.compile()
