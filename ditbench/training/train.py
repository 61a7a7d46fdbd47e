"""The training loop. It prints nothing: it yields what happens."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ditbench.models.aside import Aside
from ditbench.seeds import generator
from ditbench.training.batches import Batches, drop_labels
from ditbench.training.compiled import CompiledLoss
from ditbench.training.ema import Ema
from ditbench.training.nonfinite import Diverged, Sentinel
from ditbench.training.precision import MixedPrecision
from ditbench.training.recorded import Recorded
from ditbench.training.stop import StopRequest
from ditbench.training.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ditbench.config import RunConfig
    from ditbench.data.dataset import ImageDataset
    from ditbench.models.dit import DiT
    from ditbench.objectives.base import Objective
    from ditbench.training.budget import Budget

# What a checkpoint keeps of a trainer beside its tensors and its clock.
_COUNTERS = ("step", "logged", "evaluations", "evaluated_step", "loss_count", "skipped")


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
        compiled: whether torch compiles the loss.
    """

    def __init__(
        self,
        config: RunConfig,
        model: DiT,
        objective: Objective,
        dataset: ImageDataset,
        device: torch.device,
        budget: Budget,
        *,
        compiled: bool = False,
    ) -> None:
        self.config = config
        self.model = model
        self.objective = objective
        self.device = device
        self.budget = budget
        self.ema = Ema(model, config.train.ema_decay)
        self.parameters = list(model.parameters())
        train = config.train
        on_cuda = device.type == "cuda"
        # A recording reads these two numbers of a step from the device, where they change.
        self._lr = torch.zeros((), device=device)
        self._ema_share = torch.zeros((), device=device)
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=self._lr if on_cuda else config.train.lr,
            weight_decay=config.train.weight_decay,
            fused=True,
            capturable=on_cuda,
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
        self.sentinel = Sentinel(device, skip=config.train.on_nonfinite == "skip")
        self.step = 0
        self.logged = 0
        self.evaluations = 0
        self.evaluated_step = 0
        self.stopwatch = Stopwatch(device)
        self.position = 0.0
        self.before = 0.0
        self.lr = 0.0
        # Kept on the device between rows, so that a step never waits for it.
        self.loss_sum = torch.zeros((), device=device)
        self.loss_count = 0
        self.skipped = 0
        self._aside = Aside(device) if on_cuda else nullcontext
        self._precision = MixedPrecision(self.parameters, self.ema.weights, train.precision)
        self.loss_at = CompiledLoss(objective) if compiled else objective.loss_at
        self._on_device = (
            Recorded(self._device_step, (self.noise, self.dropout))
            if on_cuda
            else self._device_step
        )

    @property
    def images(self) -> int:
        """Images seen so far, repeats included."""
        return self.step * self.config.train.batch_size

    @property
    def seconds(self) -> float:
        """Of training, evaluation not counted, up to the last row or evaluation."""
        return self.stopwatch.seconds

    def run(self, stop: StopRequest | None = None) -> Iterator[Logged | EvaluationDue]:
        """Train to the end of the budget; the clock stops whenever something is yielded.

        Whoever saves the trainer while it waits for an evaluation says by `evaluated` when that is
        made: a trainer that was saved before asks for it again.

        Args:
            stop: looked at after every step.

        Raises:
            Stopped: a stop was asked for; the state is that after a whole step.
            Diverged: loss or gradient were not finite.
        """
        stop = StopRequest() if stop is None else stop
        budget = self.budget
        # A checkpoint may have been loaded.
        self.position = budget.position(self.step, self.stopwatch.read)
        while not budget.ends(self.evaluations):
            if self._evaluation_is_due():
                yield EvaluationDue(self.step, self.images, self.seconds)
                if self._evaluation_is_due():
                    self.evaluated()
                continue
            self.stopwatch.start()
            grad_norm = self._update_until_something_is_due(stop)
            self.stopwatch.stop()
            self._must_be_finite()
            if self._log_is_due():
                yield self._log(grad_norm)
            stop.check()

    def _update_until_something_is_due(self, stop: StopRequest) -> Tensor:
        """One step or more, without a wait for the device; returns the last gradient's norm."""
        while True:
            self.before = self.position
            grad_norm = self.update()
            if self.device.type == "cpu":  # where looking at a number costs nothing
                self._must_be_finite()
            if stop or self._log_is_due() or self._evaluation_is_due():
                return grad_norm

    def _log_is_due(self) -> bool:
        last = self.budget.ends(self.evaluations + 1) and self._evaluation_is_due()
        return last or self.budget.logs(self.before, self.position)

    def _evaluation_is_due(self) -> bool:
        # Not twice at one step, however long that step took.
        fresh = self.step > self.evaluated_step
        return fresh and self.budget.evaluates(self.position, self.evaluations)

    def evaluated(self) -> None:
        """Take note that the evaluation that was due has been made."""
        self.evaluations += 1
        self.evaluated_step = self.step

    def _must_be_finite(self) -> None:
        if found := self.sentinel.divergence():
            raise Diverged(found, self.config.train.lr)

    def counters(self) -> dict[str, float]:
        """All of the state that is no tensor."""
        return {"seconds": self.seconds, **{name: getattr(self, name) for name in _COUNTERS}}

    def restore_counters(self, counters: dict[str, float]) -> None:
        """Take up what `counters` gave."""
        self.stopwatch.seconds = float(counters["seconds"])
        for name in _COUNTERS:
            setattr(self, name, int(counters[name]))
        self.sentinel.updates.fill_(self.step)

    def update(self) -> Tensor:
        """One step: batch, loss, gradient, AdamW, EMA. Returns the gradient's norm, on device."""
        self.lr = self.config.train.lr * self.budget.ramp(self.position)
        self._tell(self.lr, self.ema.share(self.step))
        index, mirrored = self.batches.indices(self.step), self.batches.mirrored(self.step)
        grad_norm = self._on_device(index, mirrored)
        self.loss_count += 1
        self.step += 1
        self.position = self.budget.position(self.step, self.stopwatch.read)
        return grad_norm

    def _tell(self, lr: float, ema_share: float) -> None:
        """Let the next step of the device know its learning rate and the EMA's share."""
        if isinstance(self._on_device, Recorded):
            self._lr.fill_(lr)
        else:
            self.optimizer.param_groups[0]["lr"] = lr
        self._ema_share.fill_(ema_share)

    def _device_step(self, index: Tensor, mirrored: Tensor) -> Tensor:
        """All of an update that the device does; nothing in it depends on the step's number."""
        train = self.config.train
        x, y = self.batches.take(index, mirrored)
        dropout = self.config.model.class_dropout_prob
        y = drop_labels(y, dropout, self.model.null_class, self.dropout)
        t, noise = self.objective.draw(x, self.noise)
        with self._precision():
            loss = self.loss_at(self.model, x, y, t, noise)
        self.optimizer.zero_grad(set_to_none=True)
        with self._aside():
            loss.backward()
        grad_norm = torch.nn.utils.get_total_norm(
            [weight.grad for weight in self.parameters if weight.grad is not None]
        )
        if train.grad_clip is not None:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, train.grad_clip, grad_norm)
        loss = loss.detach()
        # The optimizer looks at this on the device, as it does for gradient scalers.
        refused = self.sentinel(loss, grad_norm)
        self.optimizer.found_inf = refused.float()  # type: ignore[attr-defined]
        self.optimizer.step()
        self.ema.update(self._ema_share)
        self.loss_sum += loss.masked_fill(refused, 0.0)
        return grad_norm

    def _log(self, grad_norm: Tensor) -> Logged:
        skipped = int(self.sentinel.count.item())
        good = self.loss_count - (skipped - self.skipped)
        loss = self.loss_sum.item() / good if good else math.nan
        self.loss_sum.zero_()
        self.loss_count = 0
        self.skipped = skipped
        self.logged += 1
        return Logged(
            step=self.step,
            images=self.images,
            seconds=self.seconds,
            loss=loss,
            lr=self.lr,
            grad_norm=grad_norm.item(),
        )
