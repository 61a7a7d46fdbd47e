"""An estimate of how long a run takes, from about a second of training and sampling."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any, NamedTuple

from ditbench.runs.evaluate import time_sampling
from ditbench.runs.labels import balanced_labels
from ditbench.runs.plan import Plan, build_trainer
from ditbench.runs.runtime_errors import training_errors
from ditbench.training import graph
from ditbench.training.stopwatch import synchronize
from ditbench.training.trainer import Trainer

# Updates before the clock starts, so that loading kernels and capturing a graph are not timed.
WARM_UP = graph.WARM_UP + 2
# How long to time updates, and the least number of parts of that time.
SECONDS = 0.8
LEAST_PARTS = 3
# Sampling is timed with these numbers of steps; the difference gives the time per step.
FEW_STEPS, MORE_STEPS = 1, 3
TIMES = (
    "seconds_per_step",
    "expected_train_seconds",
    "expected_eval_seconds",
    "expected_total_seconds",
)


class Speed(NamedTuple):
    """The speed of one model on one device."""

    seconds_per_step: float  # of training, the median
    seconds_per_evaluation: float  # sampling only
    seconds_of_final: float = 0.0  # the draws that the final score adds


def forecast(plans: list[Plan], say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Yield cost, amounts and times of each run, from step 0, without compiling and scoring.

    Seeds and learning rates of one configuration share a calibration, which `say` announces.
    `estimated`: steps, images and FLOPs follow from it. Times are None for a complete run.

    Raises:
        DitbenchError: exit code 1, if memory does not suffice or torch cannot compile.
    """
    speeds: dict[str, Speed] = {}
    for run in plans:
        if complete := run.directory.is_complete():
            expected = {"steps": run.directory.read_result()["steps"], **dict.fromkeys(TIMES)}
        else:
            # Speed does not depend on the rate, nor the fingerprint on the seed.
            fingerprint = run.config.with_values(train__lr=1.0).fingerprint
            if fingerprint not in speeds:
                say(f"calibrating {run.config.block} on {run.device}")
                speeds[fingerprint] = calibrate(run)
            expected = _expected(run, speeds[fingerprint])
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


def _expected(run: Plan, speed: Speed) -> dict[str, Any]:
    steps = run.budget.steps
    if steps is None:
        steps = max(len(run.budget.marks), round(run.budget.amount / speed.seconds_per_step))
    train = steps * speed.seconds_per_step
    evaluate = len(run.budget.marks) * speed.seconds_per_evaluation + speed.seconds_of_final
    times = (speed.seconds_per_step, train, evaluate, train + evaluate)
    return {"steps": steps, **dict(zip(TIMES, times, strict=True))}


def calibrate(run: Plan) -> Speed:
    """Time training and sampling of one planned run, with a model that is discarded."""
    with training_errors(run):
        trainer = build_trainer(run)
        return Speed(_time_updates(trainer), *_time_evaluations(run, trainer))


def _time_updates(trainer: Trainer) -> float:
    """Seconds per update, the median over several parts."""
    _time(trainer, WARM_UP)
    # Synchronizing after every update would take longer than short updates.
    part = max(1, round(SECONDS / 10 / _time(trainer, 1)))
    ends = time.perf_counter() + SECONDS
    seconds: list[float] = []
    while len(seconds) < LEAST_PARTS or time.perf_counter() < ends:
        seconds.append(_time(trainer, part) / part)
    return median(seconds)


def _time(trainer: Trainer, updates: int) -> float:
    synchronize(trainer.device)
    started = time.perf_counter()
    for _ in range(updates):
        trainer.update()
    synchronize(trainer.device)
    return time.perf_counter() - started


def _time_evaluations(run: Plan, trainer: Trainer) -> tuple[float, float]:
    """Seconds of sampling per evaluation and for the final score.

    They are extrapolated from one batch and a few steps.
    """
    config = run.config.eval
    labels = balanced_labels(min(config.batch_size, config.samples), run.dataset.num_classes)
    sample = partial(time_sampling, trainer.ema.model, run, labels)
    sample(FEW_STEPS)
    few, more = sample(FEW_STEPS), sample(MORE_STEPS)
    slope = max(0.0, more - few) / (MORE_STEPS - FEW_STEPS)
    batches = config.samples / len(labels)

    def seconds(steps: int) -> float:
        return batches * (few + slope * (steps - FEW_STEPS))

    return seconds(config.sampling_steps), config.extra_draws * seconds(config.steps_of_final)
