"""The training loop. It prints nothing; it yields rows of the log and evaluations that are due."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from ditbench.config import RunConfig
from ditbench.data.dataset import ImageDataset
from ditbench.models.dit import DiT
from ditbench.objectives.base import Objective
from ditbench.seeds import generator
from ditbench.training.batches import Batches, drop
from ditbench.training.budget import Budget
from ditbench.training.cpu import divides, each_half, half_of_the_cores
from ditbench.training.device.backend import PLAIN_BACKEND, Backend
from ditbench.training.device.backlog import Backlog
from ditbench.training.device.graph import CudaGraph
from ditbench.training.device.precision import mixed_precision
from ditbench.training.device.stopwatch import Stopwatch
from ditbench.training.ema import Ema
from ditbench.training.nonfinite import Sentinel
from ditbench.training.stop import StopRequest
from ditbench.world import ALONE, GradientSum, World

# The state of a trainer in a checkpoint, besides its tensors and its clock.
_COUNTERS = ("step", "logged", "evaluations", "evaluated_step", "loss_count", "skipped")


@dataclass(frozen=True)
class Logged:
    """A row of train.csv: the updates so far, and the seconds of training without evaluation."""

    step: int
    images: int
    seconds: float
    loss: float  # mean since the row before
    lr: float  # of the last update
    grad_norm: float  # 2-norm of the last gradient over all weights


@dataclass(frozen=True)
class EvaluationDue:
    """An evaluation is due: the EMA weights are those after `step` updates."""

    step: int
    images: int
    seconds: float


class Trainer:
    """One model, its EMA and optimizer, and everything that the next step depends on.

    The precision of the configuration is resolved. The model is initialised, on the device, and
    built for the backend. In a `world` of several processes, each computes its part of every batch.
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
        backend: Backend = PLAIN_BACKEND,
        world: World = ALONE,
    ) -> None:
        self.config = config
        self.model = model
        self.objective = objective
        self.device = device
        self.budget = budget
        self.world = world
        self.ema = Ema(model, config.train.ema_decay)
        self.parameters = list(model.parameters())
        on_cuda = device.type == "cuda"
        # A CUDA graph reads these two numbers of a step from the device.
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
        self.backlog = Backlog(device)
        self.position = 0.0
        self.before = 0.0
        self.lr = 0.0
        # Stays on the device between rows, so that a step never waits for it.
        self.loss_sum = torch.zeros((), device=device)
        self.loss_count = 0
        self.skipped = 0
        self.backend = backend
        ready = backend.gradients_ready
        self._sum = None if world.alone else GradientSum(self.parameters, world, ready)
        backend.prepare([model, self.ema.model], objective)
        self._halves = world.alone and config.train.micro_batch is None and divides(model, device)
        step = self._device_step
        self._on_device = CudaGraph(step, (self.noise, self.dropout)) if on_cuda else step

    @property
    def images(self) -> int:
        """Images seen so far, including repeats."""
        return self.step * self.config.train.batch_size

    @property
    def seconds(self) -> float:
        """Seconds of training without evaluation, up to the last row or evaluation."""
        return self.stopwatch.seconds

    def run(self, stop: StopRequest | None = None) -> Iterator[Logged | EvaluationDue]:
        """Train to the end of the budget; the clock stops whenever something is yielded.

        To save the trainer after an evaluation, call `evaluated` first: a trainer that was saved
        before yields the evaluation again. After every step, raises Stopped if a stop was requested
        and Diverged if loss or gradient were not finite.
        """
        stop = StopRequest() if stop is None else stop
        # A checkpoint may have been loaded.
        self.position = self.budget.position(self.step, self.stopwatch.read)
        while not self.budget.ends(self.evaluations):
            if self._evaluation_is_due():
                yield EvaluationDue(self.step, self.images, self.seconds)
                if self._evaluation_is_due():
                    self.evaluated()
                continue
            self.stopwatch.start()
            grad_norm = self._update_until_something_is_due(stop)
            self.stopwatch.stop()
            self.sentinel.check(self.config.train.lr)
            if self._log_is_due():
                yield self._log(grad_norm)
            stop.check()

    def _update_until_something_is_due(self, stop: StopRequest) -> Tensor:
        """One step or more, without a wait for the device; returns the last gradient's norm."""
        while True:
            self.before = self.position
            grad_norm = self.update()
            if self.device.type == "cpu":  # where looking at a number costs nothing
                self.sentinel.check(self.config.train.lr)
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
        """Record that the evaluation that was due has been made."""
        self.evaluations += 1
        self.evaluated_step = self.step

    def counters(self) -> dict[str, float]:
        """The state apart from tensors."""
        return {"seconds": self.seconds, **{name: getattr(self, name) for name in _COUNTERS}}

    def restore_counters(self, counters: dict[str, float]) -> None:
        """Restore the state from `counters`."""
        self.stopwatch.seconds = float(counters["seconds"])
        for name in _COUNTERS:
            setattr(self, name, int(counters[name]))
        self.sentinel.updates.fill_(self.step)

    def update(self) -> Tensor:
        """One step: batch, loss, gradient, AdamW, EMA. Returns the gradient's norm, on device."""
        self.lr = self.config.train.lr * self.budget.ramp(self.position)
        if isinstance(self._on_device, CudaGraph):
            self._lr.fill_(self.lr)
        else:
            self.optimizer.param_groups[0]["lr"] = self.lr
        self._ema_share.fill_(self.ema.share(self.step))
        part = self.world.part(self.batches.batch_size)
        with half_of_the_cores() if self._halves else nullcontext():
            grad_norm = self._on_device(*self.batches.inputs(self.step, part))
        self.backlog.launched()
        self.loss_count += 1
        self.step += 1
        self.position = self.budget.position(self.step, self.stopwatch.read)
        if self.budget.steps is None:  # clocks differ
            self.position = self.world.most(self.position)
        return grad_norm

    def _device_step(self, *inputs: Tensor) -> Tensor:
        """The part of an update on the device; nothing in it depends on the step's number."""
        train, count = self.config.train, self.batches.batch_size
        part = self.world.part(count)
        x, y = self.batches.take(*inputs)
        # Drawn for the whole batch: the numbers do not depend on how it is divided.
        probability = self.config.model.class_dropout_prob
        dropped = drop(count, probability, self.dropout)[part]
        y = torch.where(dropped, self.model.null_class, y)
        t, noise = self.objective.draw(x.new_empty(count, *x.shape[1:]), self.noise)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._gradients(x, y, t[part], noise[part])
        grad_norm = torch.nn.utils.get_total_norm(
            [weight.grad for weight in self.parameters if weight.grad is not None]
        )
        if train.grad_clip is not None:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, train.grad_clip, grad_norm)
        # The optimizer reads this on the device, as it does for gradient scalers.
        refused = self.sentinel(loss, grad_norm)
        self.optimizer.found_inf = refused.float()  # type: ignore[attr-defined]
        self.optimizer.step()
        self.ema.update(self._ema_share)
        self.loss_sum += loss.masked_fill(refused, 0.0)
        return grad_norm

    def _gradients(self, *part: Tensor) -> Tensor:
        """Compute the gradients of the whole batch's mean loss, which is returned.

        `part` is this process's: images, labels, times and noise. It is computed in parts of
        `train.micro_batch` images, one after the other.
        """
        size = self.config.train.micro_batch or self.batches.batch_size
        parts = list(zip(*(each.split(size) for each in part), strict=True))
        losses = []
        for number, inputs in enumerate(parts, start=1):
            if self._sum is not None and number == len(parts):
                self._sum.begin()
            losses += (
                each_half(self._backward, inputs) if self._halves else [self._backward(*inputs)]
            )
        total = torch.stack(losses).sum()
        return total if self._sum is None else self._sum.finish(total)

    def _backward(self, *inputs: Tensor) -> Tensor:
        """Add the gradients of a part of the batch, and return its part of the mean loss."""
        with mixed_precision(self.device, self.config.train.precision):
            loss = self.objective.loss_at(self.model, *inputs)
        # A mean over the whole batch is the sum of weighted means over its parts.
        loss = loss * (len(inputs[0]) / self.batches.batch_size)
        self.backend.backward(loss)
        return loss.detach()

    def _log(self, grad_norm: Tensor) -> Logged:
        skipped = int(self.sentinel.count.item())
        good = self.loss_count - (skipped - self.skipped)
        loss = self.loss_sum.item() / good if good else math.nan
        self.loss_sum.zero_()
        self.loss_count = 0
        self.skipped = skipped
        self.logged += 1
        return Logged(self.step, self.images, self.seconds, loss, self.lr, grad_norm.item())
