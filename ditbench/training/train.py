"""The training loop. It prints nothing: it yields what happens."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.seeds import generator
from ditbench.training.batches import Batches, drop_labels
from ditbench.training.ema import Ema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ditbench.config import RunConfig
    from ditbench.data.dataset import ImageDataset
    from ditbench.models.dit import DiT
    from ditbench.objectives.base import Objective

# Rows of train.csv in a run; each costs one wait for the device.
LOG_ROWS = 200


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
    """

    def __init__(
        self,
        config: RunConfig,
        model: DiT,
        objective: Objective,
        dataset: ImageDataset,
        device: torch.device,
    ) -> None:
        self.config = config
        self.model = model
        self.objective = objective
        self.device = device
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
        self.seconds = 0.0
        # Kept on the device between rows, so that a step never waits for it.
        self.loss_sum = torch.zeros((), device=device)
        self.loss_count = 0

    @property
    def images(self) -> int:
        """Images seen so far, repeats included."""
        return self.step * self.config.train.batch_size

    def run(self) -> Iterator[Logged | EvaluationDue]:
        """Train to the end of the budget; the clock stops whenever something is yielded.

        Raises:
            DitbenchError: exit code 1, when the loss is no longer finite.
        """
        steps = self.config.budget.steps
        log_every = max(1, steps // LOG_ROWS)
        due = set(evaluation_steps(steps, self.config.eval.points))
        started = time.perf_counter()
        while self.step < steps:
            grad_norm = self._update()
            log, evaluate = self.step % log_every == 0 or self.step == steps, self.step in due
            if not (log or evaluate):
                continue
            synchronize(self.device)
            self.seconds += time.perf_counter() - started
            if log:
                yield self._log(grad_norm)
            if evaluate:
                yield EvaluationDue(self.step, self.images, self.seconds)
            started = time.perf_counter()

    def _update(self) -> Tensor:
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
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.ema.update(self.step)
        self.loss_sum += loss.detach()
        self.loss_count += 1
        self.step += 1
        return grad_norm

    def learning_rate(self, step: int) -> float:
        """Of the update after `step` others: constant after a linear warm-up."""
        warmup = self.config.train.warmup * self.config.budget.steps
        return self.config.train.lr * min(1.0, (step + 1) / max(warmup, 1.0))

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
            lr=self.learning_rate(self.step - 1),
            grad_norm=grad_norm.item(),
        )


def evaluation_steps(steps: int, points: int) -> list[int]:
    """The steps after which to evaluate: evenly spaced, the last at the end."""
    return [round(steps * (point + 1) / points) for point in range(points)]


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which the model runs: bf16 products over float32 weights, or nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was asked to do, so that a clock means something."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
