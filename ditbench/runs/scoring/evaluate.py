"""Evaluations: samples of a model, scored."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from ditbench.metrics import create_extractor, extractor_class
from ditbench.metrics.choice import HELD_OUT_SUFFIX, also_of, choose
from ditbench.metrics.features.extractors import Extractor, Features
from ditbench.metrics.metric import RealStatistics
from ditbench.metrics.real import RealImages, read_latents, real_statistics
from ditbench.metrics.reference import Published
from ditbench.metrics.scorer import Scorer, Space
from ditbench.metrics.scores.label_accuracy import LABEL_ACCURACY
from ditbench.models.dit import DiT
from ditbench.runs.planning.plan import Plan
from ditbench.runs.planning.task import Task
from ditbench.runs.scoring.labels import scored_labels
from ditbench.runs.scoring.sampling import sample_images
from ditbench.runs.scoring.scored import (
    decode_samples,
    decoder,
    has_rows,
    learned,
    real_images,
    scored_as,
)
from ditbench.training.device.stopwatch import synchronize
from ditbench.training.stop import StopRequest

# The most images from which the speed of an extractor is estimated.
MOST_TIMED = 64
MOST_DECODED = 8


@dataclass(frozen=True)
class Evaluation:
    """The outcome of one evaluation."""

    metrics: dict[str, float]
    samples: Tensor  # all that was scored, as `sample_images` returns it
    labels: Tensor  # the requested class of each, (M,)
    seconds: float  # of sampling and scoring
    sampling_seconds: float


def evaluate(run: Plan, scorer: Scorer, model: DiT, stop: StopRequest, draw: int = 0) -> Evaluation:
    """Sample `eval.samples` images and score them; a stop takes effect between two passes.

    Every model of a run, and every block, gets the same noise, labels and sampler. Each `draw` has
    noise of its own; draw 0 is that of the evaluations along the way.
    """
    started = time.perf_counter()
    config = run.config.eval
    labels = scored_labels(config.labels, config.samples, run.dataset)
    samples = sample_images(model, run, labels, stop, draw)
    synchronize(run.device)
    sampling_seconds = time.perf_counter() - started
    scorer.reset()
    stop.begin("scoring", len(samples) * len(scorer.extractors))
    batches = (samples.split(config.batch_size), labels.split(config.batch_size))
    for drawn, asked in zip(*batches, strict=True):
        scorer.update(decode_samples(run, drawn), asked.to(run.device), stop.passed)
        stop.check()
    metrics = stop.wait_for(scorer.compute)
    return Evaluation(metrics, samples, labels, time.perf_counter() - started, sampling_seconds)


def create_scorer(
    run: Plan, begun: Mapping[str, int] | None = None, stop: StopRequest | None = None
) -> Scorer:
    """The scorer of a run; `begun` are the metrics of a run to be resumed, see `choose`.

    Raises a DitbenchError if weights are missing or damaged; a stop takes effect between two
    passes.
    """
    metrics, dataset, device = run.config.metrics, run.dataset, run.device
    also = metrics.further if begun is None else also_of(begun)
    named = scored_as(run.config, dataset)
    other_classes = extractor_class(metrics.features, named).num_classes is None
    if begun is not None and LABEL_ACCURACY.name in begun and other_classes:
        # Earlier versions did not compare names: such a run keeps its column.
        named = replace(named, class_names=tuple(map(str, range(dataset.num_classes))))
    extractors = [  # all of them before statistics, which may take minutes
        create_extractor(name, named, metrics.inception_weights, device)
        for name in (metrics.features, *also)
    ]
    for extractor in extractors:
        extractor.world = run.world
    stop = StopRequest() if stop is None else stop

    def statistics(real: RealImages | Published, extractor: Extractor) -> RealStatistics:
        if isinstance(real, Published):
            return real.statistics(extractor)
        stop.begin("real statistics", len(real.images))
        return real_statistics(real, extractor, device, stop.passed)

    real = real_images(run)
    spaces = [Space(each, statistics(real, each)) for each in extractors]
    wanted = begun is None or any(name.endswith(HELD_OUT_SUFFIX) for name in begun)
    if wanted and metrics.real is None and dataset.held_out is not None:
        held_out = learned(run, dataset.held_out)
        spaces[0] = spaces[0]._replace(held_out=statistics(held_out, extractors[0]))
    return Scorer(spaces, device, metrics.extra, begun)


def metrics_asked(run: Plan) -> dict[str, int]:
    """The versions of the metrics that a run has if it begins now, by name. Reads no weights."""
    metrics, scored = run.config.metrics, scored_as(run.config, run.dataset)
    names = (metrics.features, *metrics.further)
    features, *also = (extractor_class(name, scored) for name in names)
    held_out = metrics.real is None and run.dataset.load_held_out is not None
    rows = has_rows(run.config)
    choices = choose(features, also, metrics.extra, held_out=held_out, rows=rows)
    return {metric.name: metric.version for choice in choices for metric in choice.metrics}


def time_scoring(task: Task, extractors: Iterable[Extractor]) -> float:
    """Seconds per image of decoding and of all extractors, from a few images of the data set."""
    dataset = task.dataset
    if dataset.latents is None:
        samples = dataset.images[:MOST_TIMED]
    else:
        samples = read_latents(dataset, torch.arange(min(MOST_TIMED, len(dataset))))

    def seconds_of(work: Callable[[Tensor], Tensor | Features], x: Tensor) -> float:
        if task.device.type == "cuda":
            work(x)  # loads kernels
        synchronize(task.device)
        started = time.perf_counter()
        work(x)
        synchronize(task.device)
        return (time.perf_counter() - started) / len(x)

    decoding = partial(decode_samples, task)
    seconds = 0.0 if decoder(task) is None else seconds_of(decoding, samples[:MOST_DECODED])
    for extractor in extractors:
        few = decoding(samples[: min(MOST_TIMED, extractor.cpu_batch)])
        seconds += seconds_of(extractor, few)
    return seconds
