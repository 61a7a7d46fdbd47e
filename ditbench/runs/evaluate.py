"""Sampling with the averaged weights, and scoring of the samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ditbench.data.dataset import to_uint8
from ditbench.metrics import create_extractor
from ditbench.metrics.real import real_statistics
from ditbench.models.dit import DiT
from ditbench.seeds import generator
from ditbench.training.backlog import Backlog
from ditbench.training.graph import GraphPerShape
from ditbench.training.precision import bf16_weights, mixed_precision
from ditbench.training.stop import StopRequest
from ditbench.training.stopwatch import synchronize

if TYPE_CHECKING:
    from ditbench.config.schema import EvalConfig
    from ditbench.metrics.extractors import Extractor
    from ditbench.metrics.score import Scorer
    from ditbench.runs.plan import Plan, Task

# The most images from which the speed of an extractor is estimated.
MOST_TIMED = 64


@dataclass(frozen=True)
class Evaluation:
    """The outcome of one evaluation."""

    metrics: dict[str, float]
    samples: Tensor  # all scored images, uint8 (M, C, H, W)
    labels: Tensor  # the requested class of each, (M,)
    seconds: float  # of sampling and scoring
    sampling_seconds: float


def evaluate(run: Plan, scorer: Scorer, model: DiT, stop: StopRequest) -> Evaluation:
    """Sample `eval.samples` images and score them.

    Every model of a run, and every block, gets the same noise, labels and sampler.

    Raises:
        Stopped: between two passes of a network, if a stop was requested.
    """
    started = time.perf_counter()
    labels = balanced_labels(run.config.eval.samples, run.dataset.num_classes)
    samples = sample_images(model, run, labels, stop)
    synchronize(run.device)
    sampling_seconds = time.perf_counter() - started
    scorer.reset()
    batch = run.config.eval.batch_size
    stop.begin("scoring", len(samples))
    for images, asked in zip(samples.split(batch), labels.split(batch), strict=True):
        scorer.update(images.to(run.device), asked.to(run.device), stop.advance)
    metrics = stop.wait_for(scorer.compute)
    return Evaluation(metrics, samples, labels, time.perf_counter() - started, sampling_seconds)


def create_scorer(run: Plan, stop: StopRequest | None = None) -> Scorer:
    """The scorer of a run.

    Raises:
        Stopped: between two passes of the extractor, if a stop was requested.
        DitbenchError: the extractor's weights are missing or damaged.
    """
    # Imported here: torchmetrics takes seconds to import, and a dry run does not need it.
    from ditbench.metrics.score import Scorer

    metrics = run.config.metrics
    extractor = create_extractor(
        metrics.features, run.dataset, metrics.inception_weights, run.device
    )
    stop = StopRequest() if stop is None else stop
    stop.begin("real statistics", len(run.dataset))
    real = real_statistics(run.dataset, extractor, run.device, stop.advance)
    return Scorer(extractor, real, run.device)


def balanced_labels(count: int, num_classes: int) -> Tensor:
    """Labels (count,) that go through all classes in turn."""
    return torch.arange(count) % num_classes


def sample_images(
    model: DiT, task: Task, labels: Tensor, stop: StopRequest | None = None
) -> Tensor:
    """Draw one image per label: uint8 (M, C, H, W), on the CPU.

    The noise depends only on the seed of the run and the position in the list.

    Raises:
        Stopped: between two passes of the model, if a stop was requested.
        NanSamples: exit code 1, if samples contain NaN.
    """
    config, dataset, device = task.config, task.dataset, next(model.parameters()).device
    shape = (dataset.channels, dataset.height, dataset.width)
    draws = generator(config.seed, "eval", "noise")
    ancestral = generator(config.seed, "eval", "ancestral", device=device)
    images = []
    stop = StopRequest() if stop is None else stop
    batches = labels.split(config.eval.batch_size)
    with _network(model, device, config.train.precision) as network:
        network = _in_parts(network, device, stop)
        stop.begin("sampling", len(batches) * passes_per_image(config.eval))
        for asked in batches:
            noise = torch.randn(len(asked), *shape, generator=draws)
            x = task.objective.sample(
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


def passes_per_image(config: EvalConfig) -> int:
    """How often the model is called to sample a batch."""
    return config.sampling_steps * (2 if config.sampler == "heun" else 1)


def _in_parts(
    network: Callable[..., Tensor], device: torch.device, stop: StopRequest
) -> Callable[..., Tensor]:
    """A model after each call of which a stop is checked; a GPU's queue stays short."""
    backlog = Backlog(device)

    def call(*inputs: Tensor) -> Tensor:
        output = network(*inputs)
        backlog.launched()
        stop.advance()
        return output

    return call


def time_sampling(model: DiT, task: Task, labels: Tensor, steps: int) -> float:
    """Seconds of sampling with so many steps. Moving samples to the CPU synchronizes."""
    started = time.perf_counter()
    config = task.config.with_values(eval__sampling_steps=steps)
    sample_images(model, replace(task, config=config), labels)
    return time.perf_counter() - started


def time_scoring(extractor: Extractor, images: Tensor, device: torch.device) -> float:
    """Seconds per image of an extractor, from a few of the images (N, C, H, W) uint8."""
    few = images[: min(MOST_TIMED, extractor.cpu_batch)].to(device)
    if device.type == "cuda":
        extractor(few)  # loads kernels
    synchronize(device)
    started = time.perf_counter()
    extractor(few)
    synchronize(device)
    return (time.perf_counter() - started) / len(few)


@contextmanager
def _network(
    model: nn.Module, device: torch.device, precision: str
) -> Iterator[Callable[..., Tensor]]:
    """The model for many passes, in a precision; a DiT on a GPU as CUDA graphs."""
    graphs = device.type == "cuda" and isinstance(model, DiT)
    bf16 = bf16_weights(model) if graphs and precision == "bf16" else nullcontext()
    with mixed_precision(device, precision), bf16:
        yield GraphPerShape(model) if graphs else model
