"""Complete runs scored again, with other settings of sampling and scoring. Nothing is trained.

Each setting has a file in the run's `evals/`, named after it. It is written after each draw, so an
evaluation that was stopped resumes. No other file of the run changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any, Protocol

from ditbench.data.dataset import NanSamples
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.metrics.scorer import Scorer
from ditbench.models.dit import DiT
from ditbench.rundir import EVALS
from ditbench.runs.directory.lock import locked
from ditbench.runs.directory.records import scores
from ditbench.runs.machine.environment import device_name
from ditbench.runs.machine.runtime_errors import sampling_errors
from ditbench.runs.planning.plan import Plan
from ditbench.runs.planning.rescoring import Rescoring
from ditbench.runs.scoring.evaluate import create_scorer, evaluate
from ditbench.runs.scoring.trained import averaged_model
from ditbench.training.stop import StopRequest

_PLACE = ("step", "images", "train_flops", "seconds")  # where in training the final model is
# What the draws of one file have in common.
_ALIKE = ("fingerprint", "seed", "steps", "dataset_digest", "batch_size", "features_digest")


class Reporter(Protocol):
    """Receives what happens in `rescore`."""

    def begin(self, job: Rescoring) -> None:
        """A setting begins."""

    def working(self, activity: str, done: int, parts: int) -> None:
        """So many parts of some work are done."""

    def scored(self, job: Rescoring, row: dict[str, Any]) -> None:
        """A draw was scored and written."""


def rescore(
    jobs: Sequence[Rescoring], reporter: Reporter, stop: StopRequest
) -> Iterator[tuple[Rescoring, dict[str, Any] | DitbenchError]]:
    """Score what is missing; yields each piece of work with its file's contents, or its error.

    Raises:
        Stopped: a stop was requested; the draws so far are written.
        DitbenchError: an extractor's weights are missing or damaged.
    """
    stop.show = reporter.working
    loaded = _Loaded(stop)
    for job in jobs:  # before any draw
        if job.left:
            reporter.begin(job)
            with _errors(job.plan):
                loaded.scorer(job.plan)
    for job in jobs:
        try:
            content = job.read()
            if content is None or job.left:
                reporter.begin(job)
                with _errors(job.plan):
                    content = _draw(job, loaded, reporter, stop)
            yield job, content
        except DitbenchError as error:
            error.exit_code = EXIT_FAILED
            if not (job.plan.world.alone or isinstance(error, NanSamples)):
                raise  # other processes may not see it
            yield job, error


def _errors(plan: Plan) -> AbstractContextManager[None]:
    fewer = max(1, plan.config.eval.batch_size // 2)
    return sampling_errors(plan, f"lower the batch size: --batch-size {fewer}")


class _Loaded:
    """What draws need and have in common: scorers, and the model of the last run."""

    def __init__(self, stop: StopRequest) -> None:
        self._stop = stop
        self._scorers: dict[tuple[Any, ...], Scorer] = {}
        self._models: dict[Path, DiT] = {}  # at most one, by the directory of its run

    def scorer(self, plan: Plan) -> Scorer:
        """The scorer of a plan; runs on the same images share it."""
        metrics = plan.config.metrics
        names = (metrics.features, *metrics.further, "", *metrics.extra, metrics.inception_weights)
        images = (plan.dataset.digest, plan.dataset.class_names, metrics.real)
        key = (*images, names, plan.config.data.vae)
        if key not in self._scorers:
            with self._stop.at_once():
                self._scorers[key] = create_scorer(plan, None, self._stop)
        return self._scorers[key]

    def model(self, plan: Plan) -> DiT:
        """The final model of a run."""
        path = plan.directory.path
        if path not in self._models:
            self._models.clear()  # the one before makes room
            self._models[path] = _final_model(plan)
        return self._models[path]


def _final_model(plan: Plan) -> DiT:
    """The averaged weights at the end of a run."""
    model, step = averaged_model(plan, plan.directory, plan.backend)
    steps = plan.directory.read_result().get("steps")
    if step != steps:
        what = f"{plan.directory.checkpoint} is of step {step}, but the run ended at step {steps}"
        raise DitbenchError(what, "copy the file again from where it is whole")
    return model


def _draw(job: Rescoring, loaded: _Loaded, reporter: Reporter, stop: StopRequest) -> dict[str, Any]:
    """Make the draws that are missing, and write the file after each."""
    plan, directory = job.plan, job.plan.directory
    scorer, model = loaded.scorer(plan), loaded.model(plan)
    lock = directory.path / EVALS / f".{job.name}.lock"
    with locked(lock) if plan.world.first else nullcontext():
        content = _begin(job, scorer)
        for draw in range(len(content["draws"]), job.draws):
            evaluation = evaluate(plan, scorer, model, stop, draw)
            last = directory.read_evaluations()[-1]
            row = {
                "draw": draw,
                **{name: last[name] for name in _PLACE},
                **scores(plan, scorer, evaluation),
                "device": device_name(plan.device),
            }
            content["draws"].append(row)
            if plan.world.first:
                directory.write_eval(job.name, content)
            reporter.scored(job, row)
    return content


def _begin(job: Rescoring, scorer: Scorer) -> dict[str, Any]:
    """The contents of the file before the next draw; refuses a file whose draws are not alike."""
    plan, result = job.plan, job.plan.directory.read_result()
    new: dict[str, Any] = {
        **{key: result.get(key) for key in ("block", "seed", "fingerprint", "steps")},
        "dataset_digest": plan.dataset.digest,
        "batch_size": plan.config.eval.batch_size,
        "features_digest": scorer.extractors[0].digest,
        "metrics": [metric.describe() for metric in scorer.metrics],
        "scoring": scorer.describe(plan.config.eval.samples),
        "draws": [],
    }
    before = job.read()
    if before is None:
        return new
    with suppress(KeyError, TypeError):  # of a damaged file
        versions = {each["name"]: each["version"] for each in before["metrics"]}
        if versions == scorer.versions:
            changed = [key for key in _ALIKE if before[key] != new[key]]
            if not changed:
                return before
            what = f"{job.path} was made with another {changed[0].replace('_', ' ')}"
            raise DitbenchError(what, "move that file away to score the run again")
    what = f"{job.path} has other metrics than this version computes, or is damaged"
    raise DitbenchError(what, "move that file away to score the run again")
