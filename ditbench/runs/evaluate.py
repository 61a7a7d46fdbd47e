"""Sampling with the averaged weights, and scoring of the samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ditbench.data.dataset import to_uint8
from ditbench.metrics import create_extractor, extractor_class
from ditbench.metrics.real import real_statistics
from ditbench.models.dit import DiT
from ditbench.runs.labels import scored_labels
from ditbench.seeds import generator
from ditbench.training.graph import GraphPerShape
from ditbench.training.precision import bf16_weights, mixed_precision
from ditbench.training.stopwatch import synchronize

if TYPE_CHECKING:
    from ditbench.metrics.score import Scorer
    from ditbench.runs.plan import Plan, Task
    from ditbench.training.stop import StopRequest


@dataclass(frozen=True)
class Evaluation:
    """The outcome of one evaluation."""

    metrics: dict[str, float]
    samples: Tensor  # all scored images, uint8 (M, C, H, W)
    labels: Tensor  # the requested class of each, (M,)
    seconds: float  # of sampling and scoring
    sampling_seconds: float


def evaluate(run: Plan, scorer: Scorer, model: DiT, stop: StopRequest, draw: int = 0) -> Evaluation:
    """Sample `eval.samples` images and score them.

    Every model of a run, and every block, gets the same noise, labels and sampler. Each `draw` has
    noise of its own; draw 0 is that of the evaluations along the way.

    Raises:
        Stopped: between two batches, if a stop was requested.
    """
    started = time.perf_counter()
    config = run.config.eval
    labels = scored_labels(config.labels, config.samples, run.dataset)
    samples = sample_images(model, run, labels, stop, draw)
    synchronize(run.device)
    sampling_seconds = time.perf_counter() - started
    scorer.reset()
    batches = (samples.split(config.batch_size), labels.split(config.batch_size))
    for images, asked in zip(*batches, strict=True):
        stop.check()
        scorer.update(images.to(run.device), asked.to(run.device))
    metrics = scorer.compute()
    return Evaluation(metrics, samples, labels, time.perf_counter() - started, sampling_seconds)


def create_scorer(run: Plan, begun: Mapping[str, int] | None = None) -> Scorer:
    """The scorer of a run; `begun` are the metrics of a run to be resumed, see `choose`.

    Raises:
        DitbenchError: an extractor's weights are missing or damaged.
    """
    # Imported here: torchmetrics takes seconds to import, and a dry run does not need it.
    from ditbench.metrics.choice import HELD_OUT_SUFFIX, also_of
    from ditbench.metrics.score import Scorer, Space

    metrics, dataset, device = run.config.metrics, run.dataset, run.device
    also = metrics.further if begun is None else also_of(begun)
    extractors = [  # all of them before statistics, which may take minutes
        create_extractor(name, dataset, metrics.inception_weights, device)
        for name in (metrics.features, *also)
    ]
    main, *others = (
        Space(extractor, real_statistics(dataset, extractor, device)) for extractor in extractors
    )
    held_out = None
    wanted = begun is None or any(name.endswith(HELD_OUT_SUFFIX) for name in begun)
    if wanted and dataset.held_out is not None:
        held_out = real_statistics(dataset.held_out, main.extractor, device)
    return Scorer(
        main.extractor,
        main.real,
        device,
        held_out=held_out,
        also=others,
        extra=metrics.extra,
        begun=begun,
    )


def metrics_asked(run: Plan) -> dict[str, int]:
    """The versions of the metrics that a run has if it begins now, by name. Reads no weights."""
    from ditbench.metrics.choice import choose

    metrics = run.config.metrics
    features, *also = map(extractor_class, (metrics.features, *metrics.further))
    held_out = run.dataset.load_held_out is not None
    choices = choose(features, also, metrics.extra, held_out=held_out)
    return {choice.kind.name: choice.kind.version for choice in choices}


def sample_images(
    model: DiT, task: Task, labels: Tensor, stop: StopRequest | None = None, draw: int = 0
) -> Tensor:
    """Draw one image per label: uint8 (M, C, H, W), on the CPU.

    The noise that an image starts from is drawn on the CPU. It depends on the seed of the run, the
    draw and the position in the list, and on `eval.batch_size` only where C*H*W is not a multiple
    of 16. The noise that an ancestral sampler adds is drawn on the device, batch by batch: it
    depends on the device and on `eval.batch_size`, too. Both are the same for every block.

    Raises:
        Stopped: between two batches, if a stop was requested.
        NanSamples: exit code 1, if samples contain NaN.
    """
    config, dataset, device = task.config, task.dataset, next(model.parameters()).device
    shape = (dataset.channels, dataset.height, dataset.width)
    number = (draw,) if draw else ()  # draw 0 is that of runs which had no other
    start = generator(config.seed, "eval", "noise", *number)
    ancestral = generator(config.seed, "eval", "ancestral", *number, device=device)
    images = []
    with _network(model, device, config.train.precision) as network:
        for asked in labels.split(config.eval.batch_size):
            if stop is not None:
                stop.check()
            noise = torch.randn(len(asked), *shape, generator=start)
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


def time_sampling(model: DiT, task: Task, labels: Tensor, steps: int) -> float:
    """Seconds of sampling with so many steps. Moving samples to the CPU synchronizes."""
    started = time.perf_counter()
    config = task.config.with_values(eval__sampling_steps=steps)
    sample_images(model, replace(task, config=config), labels)
    return time.perf_counter() - started


@contextmanager
def _network(
    model: nn.Module, device: torch.device, precision: str
) -> Iterator[Callable[..., Tensor]]:
    """The model for many passes, in a precision; a DiT on a GPU as CUDA graphs."""
    graphs = device.type == "cuda" and isinstance(model, DiT)
    bf16 = bf16_weights(model) if graphs and precision == "bf16" else nullcontext()
    with mixed_precision(device, precision), bf16:
        yield GraphPerShape(model) if graphs else model
