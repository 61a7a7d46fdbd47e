"""An estimate of how long a run takes, from a few seconds of training, sampling and scoring."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from statistics import median
from typing import Any

from ditbench.metrics.features.extractors import Extractor
from ditbench.metrics.real import cached_file
from ditbench.metrics.reference import Published
from ditbench.runs.machine.contention import CpuShare
from ditbench.runs.machine.runtime_errors import training_errors
from ditbench.runs.planning.plan import Plan, build_trainer
from ditbench.runs.planning.ready import check_ready
from ditbench.runs.planning.speed import Speed, image_passes
from ditbench.runs.scoring.evaluate import time_scoring
from ditbench.runs.scoring.labels import balanced_labels
from ditbench.runs.scoring.sampling import time_sampling
from ditbench.runs.scoring.scored import real_images
from ditbench.training.device import graph
from ditbench.training.device.stopwatch import synchronize
from ditbench.training.trainer import Trainer

# Updates before the clock starts, so that loading kernels and capturing a graph are not timed.
WARM_UP = graph.WARM_UP + 2
# How long to time updates, and the least number of parts of that time.
SECONDS = 0.8
LEAST_PARTS = 3
# After so many seconds, models that were not timed yet are estimated from one that was, by cost.
MOST_SECONDS = 6.0
# On a CPU, where time grows with the images of a batch: the first number of images, which is
# doubled, at least once, until a batch of them takes this many seconds.
FEW_IMAGES = 1
LONG_ENOUGH = 0.25
# FLOPs of an image, in training, from which a CPU is not timed: it takes seconds for one.
MOST_FLOPS = 1e11
# Sampling on a GPU is timed with these numbers of steps, both of them with CUDA graphs recorded;
# the difference gives the time per step.
FEW_STEPS, MORE_STEPS = WARM_UP, 3 * WARM_UP
CPU_STEPS = 1
# The share of the CPU below which it is called busy.
BUSY = 0.8
TIMES = (
    "seconds_per_step",
    "expected_train_seconds",
    "expected_eval_seconds",
    "expected_total_seconds",
)


def forecast(plans: list[Plan], say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Yield cost, amounts and times of each run, from its first step, without compiling.

    Seeds and learning rates of one configuration share a calibration, which `say` announces. When
    calibrations have taken `MOST_SECONDS`, the other models are estimated from the first by cost.
    `estimated`: steps, images and FLOPs follow from it. Times are None for a complete run, and on a
    CPU for a model that is too large for it. The first run that needs them makes the statistics of
    the real images. On a CPU, times are those without other processes; `say` warns where these took
    much of it.

    Raises:
        DitbenchError: exit code 1, if memory does not suffice or torch cannot compile; what
            `check_ready` raises.
    """
    calibration = _Calibration(check_ready(plans), say)
    share = CpuShare()
    for run in plans:
        if complete := run.directory.is_complete():
            expected = {"steps": run.directory.read_result()["steps"], **dict.fromkeys(TIMES)}
        elif _too_large(run):
            expected = {"steps": run.budget.steps, **dict.fromkeys(TIMES)}
        else:
            expected = calibration.expected(run)
        yield {
            "block": run.config.block,
            **run.cost.as_dict(),
            "lr": run.config.train.lr,
            "seed": run.config.seed,
            **expected,
            "backend": run.backend.name,
            "images": expected["steps"] * run.config.train.batch_size,
            "train_flops": run.train_flops(expected["steps"]),
            **dict.fromkeys(("evaluation_steps", "evaluation_seconds")),
            f"evaluation_{run.budget.unit}s": list(run.budget.marks),
            # The number of steps of a time budget is known only afterwards.
            "estimated": not complete and run.budget.steps is None,
            "path": str(run.directory.path),
            "complete": complete,
        }
    on_cpu = plans and plans[0].device.type == "cpu"
    if on_cpu and calibration.speeds and (got := share.read()) < BUSY:
        say(
            "this CPU is busy: beside its other processes, runs take about "
            f"{1 / got:.1f} times as long"
        )


class _Calibration:
    """The speeds of extractors and of models; each is measured once, when a run needs it."""

    def __init__(self, extractors: Mapping[str, Extractor], say: Callable[[str], None]) -> None:
        self.extractors, self.say, self.say_once = extractors, say, cache(say)
        self.scoring: dict[str, float] = {}  # seconds per image, by features
        self.speeds: dict[str, Speed] = {}  # by fingerprint
        self.first: Plan | None = None  # that was calibrated
        self.ends = 0.0  # when calibrations do

    def expected(self, run: Plan) -> dict[str, Any]:
        """The steps and the `TIMES` of a run."""
        preparation = 0.0
        features = (run.config.metrics.features, *run.config.metrics.further)
        for name in features:
            if name not in self.scoring:
                new = self.extractors[name]
                self.scoring[name] = _alone(run, partial(time_scoring, run, [new]))
                preparation += _statistics(run, new, self.scoring[name])
        speed = self.speed(run, sum(self.scoring[name] for name in features))
        return _expected(run, speed, preparation)

    def speed(self, run: Plan, per_score: float) -> Speed:
        """The speed of a model: measured, or estimated from the first by cost."""
        # Speed does not depend on the rate, nor the fingerprint on the seed.
        fingerprint = run.config.with_values(train__lr=1.0).fingerprint
        if fingerprint in self.speeds:
            return self.speeds[fingerprint]
        if self.first is None:
            self.first, self.ends = run, time.perf_counter() + MOST_SECONDS
        if time.perf_counter() <= self.ends:
            self.say(f"calibrating {run.config.block} on {run.device}")
            speed = calibrate(run, per_score)
        else:
            self.say_once(f"the others are estimated from {self.first.config.block}, by cost")
            ratio = run.cost.train_flops_per_image / self.first.cost.train_flops_per_image
            speed = next(iter(self.speeds.values())).times(ratio)
        self.speeds[fingerprint] = speed
        return speed


def _alone(run: Plan, measure: Callable[[], float]) -> float:
    """The seconds that a measurement returns; on a CPU, without those for other processes."""
    share = CpuShare()
    seconds = measure()
    return seconds * (share.read() if run.device.type == "cpu" else 1.0)


def _too_large(run: Plan) -> bool:
    """Whether a run is not for a CPU, and has nothing to be estimated there but its times."""
    large = run.cost.train_flops_per_image > MOST_FLOPS
    return run.device.type == "cpu" and large and run.budget.steps is not None


def _statistics(run: Plan, extractor: Extractor, per_score: float) -> float:
    """Seconds to compute the statistics of the real images, unless they are in the cache."""
    real = real_images(run)
    if isinstance(real, Published):
        return 0.0
    path = cached_file(real, extractor)
    return 0.0 if path is not None and path.is_file() else len(real.images) * per_score


def _expected(run: Plan, speed: Speed, preparation: float) -> dict[str, Any]:
    steps = run.budget.steps
    if steps is None:
        steps = max(len(run.budget.marks), round(run.budget.amount / speed.per_step))
    before = run.config.parent
    train = (steps - (before.steps or 0)) * speed.per_step
    points = len(run.budget.marks) - (before.points or 0)
    evaluate = preparation + points * speed.of_evaluation(run) + speed.of_final(run)
    times = (speed.per_step, train, evaluate, train + evaluate)
    return {"steps": steps, **dict(zip(TIMES, times, strict=True))}


def calibrate(run: Plan, per_score: float) -> Speed:
    """Time training and sampling of one planned run, with a model that is discarded."""
    with training_errors(run):
        trainer = build_trainer(run)
        return Speed(_time_updates(run, trainer), _time_pass(run, trainer), per_score)


def _grow(measure: Callable[[int], float], whole: int) -> tuple[float, int]:
    """Seconds of a whole batch, and of how many images the largest that was measured was.

    The time of a batch is taken to be a line through those of the last two numbers of images.
    """
    images, before = min(FEW_IMAGES, whole), (0, 0.0)
    measure(images)  # allocates memory
    while True:
        seconds = measure(images)
        if (seconds >= LONG_ENOUGH and before[0]) or images == whole:
            break
        before, images = (images, seconds), min(2 * images, whole)
    if images < whole:
        # Another process may have disturbed the first measurements.
        seconds = min(seconds, measure(images))
        before = (before[0], min(before[1], measure(before[0])))
    slope = max(0.0, seconds - before[1]) / (images - before[0])
    line = seconds + slope * (whole - images)
    # A disturbed measurement may give too steep a line: an image of a larger batch takes no longer.
    return min(line, seconds * whole / images), images


def _time_updates(run: Plan, trainer: Trainer) -> float:
    """Seconds per update, the median over several parts. Slow updates on a CPU are extrapolated
    from smaller batches.
    """

    def update(images: int) -> float:
        trainer.batches.batch_size = images
        trainer.config = run.config.with_values(train__batch_size=images)
        return _alone(run, partial(_time, trainer, 1))

    # What is compiled or recorded has batches of one size.
    if run.device.type == "cpu" and not run.backend.compiles:
        whole = trainer.batches.batch_size
        slow, images = _grow(update, whole)
        if images < whole:
            return slow
    _time(trainer, WARM_UP)
    # Synchronizing after every update would take longer than short updates.
    part = max(1, round(SECONDS / 10 / _time(trainer, 1)))
    ends = time.perf_counter() + SECONDS
    seconds: list[float] = []
    while len(seconds) < LEAST_PARTS or time.perf_counter() < ends:
        seconds.append(_alone(run, partial(_time, trainer, part)) / part)
    return median(seconds)


def _time(trainer: Trainer, updates: int) -> float:
    synchronize(trainer.device)
    started = time.perf_counter()
    for _ in range(updates):
        trainer.update()
    synchronize(trainer.device)
    return time.perf_counter() - started


def _time_pass(run: Plan, trainer: Trainer) -> float:
    """Seconds of one image and one pass in sampling, from one batch and few steps."""
    config = run.config.eval
    labels = balanced_labels(min(config.batch_size, config.samples), run.dataset.num_classes)
    sample = partial(time_sampling, trainer.ema.model, run)
    passes = image_passes(config) / config.sampling_steps  # of one step
    if run.device.type == "cpu":
        seconds, _ = _grow(
            lambda images: _alone(run, partial(sample, labels[:images], CPU_STEPS)), len(labels)
        )
        return seconds / (CPU_STEPS * passes * len(labels))
    few, more = min(FEW_STEPS, config.sampling_steps), min(MORE_STEPS, config.sampling_steps)
    sample(labels, few)
    seconds, steps = sample(labels, few), few
    if more > few:
        seconds, steps = max(0.0, sample(labels, more) - seconds), more - few
    return seconds / (steps * passes * len(labels))
