"""The training loop. It prints nothing: it yields what happens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.seeds import generator
from ditbench.training.batches import Batches, drop_labels
from ditbench.training.ema import Ema
from ditbench.training.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ditbench.config import RunConfig
    from ditbench.data.dataset import ImageDataset
    from ditbench.models.dit import DiT
    from ditbench.objectives.base import Objective
    from ditbench.training.budget import Budget


@dataclass(frozen=True)
class Logged:
    """A row of train.csv.

    Attributes:
        step: updates made.
        images: images seen.
        seconds: of training, evaluation not counted.
        loss: mean since the row before.
        lr: learning rate of the last update.
        grad_norm: 2-norm of the last gradient over all weights.
    """

    step: int
    images: int
    seconds: float
    loss: float
    lr: float
    grad_norm: float


@dataclass(frozen=True)
class EvaluationDue:
    """The loop waits: the EMA weights are those after `step` updates."""

    step: int
    images: int
    seconds: float


class Trainer:
    """One model, its EMA and optimizer, and all that decides the next step.

    Args:
        config: of the run; its precision is resolved.
        model: on the device, initialised.
        objective: the loss.
        dataset: the images.
        device: where to train.
        budget: how long.
    """

    def __init__(
        self,
        config: RunConfig,
        model: DiT,
        objective: Objective,
        dataset: ImageDataset,
        device: torch.device,
        budget: Budget,
    ) -> None:
        self.config = config
        self.model = model
        self.objective = objective
        self.device = device
        self.budget = budget
        self.ema = Ema(model, config.train.ema_decay)
        self.parameters = list(model.parameters())
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=config.train.lr,
            weight_decay=config.train.weight_decay,
            fused=True,
        )
        self.batches = Batches(
            dataset,
            config.train.batch_size,
            config.seed,
            horizontal_flip=config.data.horizontal_flip,
            device=device,
        )
        self.noise = generator(config.seed, "noise", device=device)
        self.dropout = generator(config.seed, "dropout", device=device)
        self.step = 0
        self.evaluations = 0
        self.stopwatch = Stopwatch(device)
        self.position = 0.0
        self.lr = 0.0
        # Kept on the device between rows, so that a step never waits for it.
        self.loss_sum = torch.zeros((), device=device)
        self.loss_count = 0

    @property
    def images(self) -> int:
        """Images seen so far, repeats included."""
        return self.step * self.config.train.batch_size

    @property
    def seconds(self) -> float:
        """Of training, evaluation not counted, up to the last row or evaluation."""
        return self.stopwatch.seconds

    def run(self) -> Iterator[Logged | EvaluationDue]:
        """Train to the end of the budget; the clock stops whenever something is yielded.

        Raises:
            DitbenchError: exit code 1, when the loss is no longer finite.
        """
        budget = self.budget
        # A checkpoint may have been loaded.
        self.position = budget.position(self.step, self.stopwatch.read)
        self.stopwatch.start()
        while not budget.ends(self.evaluations):
            before = self.position
            grad_norm = self.update()
            evaluate = budget.evaluates(self.position, self.evaluations)
            self.evaluations += evaluate
            log = budget.logs(before, self.position) or budget.ends(self.evaluations)
            if not (log or evaluate):
                continue
            self.stopwatch.stop()
            if log:
                yield self._log(grad_norm)
            if evaluate:
                yield EvaluationDue(self.step, self.images, self.seconds)
            self.stopwatch.start()

    def update(self) -> Tensor:
        """One step: batch, loss, gradient, AdamW, EMA. Returns the gradient's norm, on device."""
        config = self.config
        x, y = self.batches.batch(self.step)
        y = drop_labels(y, config.model.class_dropout_prob, self.model.null_class, self.dropout)
        with autocast(self.device, config.train.precision):
            loss = self.objective.loss(self.model, x, y, self.noise)
        loss.backward()
        grad_norm = torch.nn.utils.get_total_norm(
            [weight.grad for weight in self.parameters if weight.grad is not None]
        )
        self.lr = config.train.lr * self.budget.ramp(self.position)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.ema.update(self.step)
        self.loss_sum += loss.detach()
        self.loss_count += 1
        self.step += 1
        self.position = self.budget.position(self.step, self.stopwatch.read)
        return grad_norm

    def _log(self, grad_norm: Tensor) -> Logged:
        loss = self.loss_sum.item() / self.loss_count
        self.loss_sum.zero_()
        self.loss_count = 0
        if not math.isfinite(loss):
            raise DitbenchError(
                f"diverged: the loss is {loss} at step {self.step}",
                f"lower the learning rate: --lr {self.config.train.lr / 3:.0e}",
                EXIT_FAILED,
            )
        return Logged(
            step=self.step,
            images=self.images,
            seconds=self.seconds,
            loss=loss,
            lr=self.lr,
            grad_norm=grad_norm.item(),
        )


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which the model runs: bf16 products over float32 weights, or nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
