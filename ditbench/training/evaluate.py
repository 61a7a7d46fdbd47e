"""Sample with the averaged weights and score the samples."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ditbench.data.dataset import to_uint8
from ditbench.models.dit import DiT
from ditbench.seeds import generator
from ditbench.training.graph import GraphPerShape
from ditbench.training.precision import mixed_precision
from ditbench.training.stopwatch import synchronize

if TYPE_CHECKING:
    from ditbench.config import RunConfig
    from ditbench.data.dataset import ImageDataset
    from ditbench.metrics.score import Scorer
    from ditbench.objectives.base import Objective
    from ditbench.training.signals import StopRequest


@dataclass(frozen=True)
class Evaluation:
    """One evaluation.

    Attributes:
        metrics: `fid`, `kid` and, where the extractor classifies, `label_accuracy`.
        samples: all that was scored, uint8 (M, C, H, W).
        labels: the class that each was asked for, (M,).
        seconds: sampling and scoring together.
        sampling_seconds: sampling alone.
    """

    metrics: dict[str, float]
    samples: Tensor
    labels: Tensor
    seconds: float
    sampling_seconds: float


class Evaluator:
    """Draws the same samples from whatever model it is given: same noise, labels and sampler.

    Args:
        config: of the run; its precision and sampler are resolved.
        objective: how to sample.
        dataset: whose shape and classes the samples have.
        scorer: the metrics.
        device: where to sample.
    """

    def __init__(
        self,
        config: RunConfig,
        objective: Objective,
        dataset: ImageDataset,
        scorer: Scorer,
        device: torch.device,
    ) -> None:
        self.config = config
        self.objective = objective
        self.dataset = dataset
        self.scorer = scorer
        self.device = device

    def __call__(self, model: DiT, stop: StopRequest) -> Evaluation:
        """Sample `eval.samples` images and score them.

        Raises:
            Stopped: between two batches, once a stop was asked for.
        """
        started = time.perf_counter()
        labels = balanced_labels(self.config.eval.samples, self.dataset.num_classes)
        samples = sample_images(model, self.config, self.objective, self.dataset, labels, stop)
        synchronize(self.device)
        sampling_seconds = time.perf_counter() - started
        self.scorer.reset()
        batch = self.config.eval.batch_size
        for images, asked in zip(samples.split(batch), labels.split(batch), strict=True):
            stop.check()
            self.scorer.update(images.to(self.device), asked.to(self.device))
        metrics = self.scorer.compute()
        return Evaluation(
            metrics=metrics,
            samples=samples,
            labels=labels,
            seconds=time.perf_counter() - started,
            sampling_seconds=sampling_seconds,
        )


def balanced_labels(count: int, num_classes: int) -> Tensor:
    """Every class in turn, (count,)."""
    return torch.arange(count) % num_classes


def sample_images(
    model: DiT,
    config: RunConfig,
    objective: Objective,
    dataset: ImageDataset,
    labels: Tensor,
    stop: StopRequest | None = None,
) -> Tensor:
    """Draw one image a label: uint8 (M, C, H, W), on the CPU.

    The noise depends on the run's seed and the place in the list alone, not on the block, the
    step or the device.

    Raises:
        Stopped: between two batches, once a stop was asked for.
        NotNumbers: exit code 1, when samples hold NaN.
    """
    device = next(model.parameters()).device
    shape = (dataset.channels, dataset.height, dataset.width)
    draws = generator(config.seed, "eval", "noise")
    ancestral = generator(config.seed, "eval", "ancestral", device=device)
    images = []
    network = GraphPerShape(model) if _is_replayable(model, device) else model
    with mixed_precision(device, config.train.precision):
        for asked in labels.split(config.eval.batch_size):
            if stop is not None:
                stop.check()
            noise = torch.randn(len(asked), *shape, generator=draws)
            x = objective.sample(
                network,
                noise.to(device, non_blocking=True),
                asked.to(device, non_blocking=True),
                config.eval.sampling_steps,
                config.eval.cfg_scale,
                null_class=model.null_class,
                sampler=config.eval.sampler,
                generator=ancestral,
            )
            images.append(to_uint8(x))
    return torch.cat(images).cpu()


def _is_replayable(model: nn.Module, device: torch.device) -> bool:
    """Whether passes of a model may be replayed; of a peer's nobody knows what they do."""
    return device.type == "cuda" and isinstance(model, DiT)
