"""A plain training step, as someone writes it who has a model and torch: how peers train."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ditbench.data.dataset import to_model
from ditbench.seeds import generator

if TYPE_CHECKING:
    from ditbench.training.plan import Plan

EMA_DECAY = 0.9999


class PlainTrainer:
    """Batch, autocast, loss, gradient, fused AdamW, and an EMA that is one call over all weights.

    Nothing here is ditbench's own but the images and the objective's loss. They stay on the device,
    as ours do.

    Args:
        model: called on (x, t, y), on the plan's device, in training mode.
        plan: what is trained; its model is not looked at.

    Attributes:
        average: the model of the EMA weights.
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
        """One training step, without a wait for the device."""
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
        """Have torch compile both models, each before its first step."""
        self.model.compile()
        self.average.compile()
