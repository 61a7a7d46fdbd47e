"""Complete runs scored again, with other settings of sampling and scoring. Nothing is trained.

Each setting has a file in the run's `evals/`, named after it. It is written after each draw, so an
evaluation that was stopped resumes. No other file of the run changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import torch

from ditbench.config import RunConfig
from ditbench.data import load_dataset
from ditbench.data.dataset import ImageDataset, NanSamples
from ditbench.distances import LATENTS
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.metrics import AUTO, extractor_class
from ditbench.metrics.scorer import Scorer
from ditbench.models.dit import DiT
from ditbench.rundir import EVALS, RunDirectory, metric_suffix
from ditbench.runs.directory.lock import locked
from ditbench.runs.directory.records import scores
from ditbench.runs.directory.reopen import check_images, source_at
from ditbench.runs.machine.environment import device_name
from ditbench.runs.machine.runtime_errors import sampling_errors
from ditbench.runs.planning.features import choose_features
from ditbench.runs.planning.plan import Plan, build_objective, count_cost, plan_run
from ditbench.runs.planning.speed import image_passes
from ditbench.runs.planning.task import Task
from ditbench.runs.scoring.evaluate import create_scorer, evaluate
from ditbench.runs.scoring.scored import digests, scored_as
from ditbench.runs.scoring.trained import as_in_final, averaged_model, backend_for, read_config
from ditbench.training.stop import StopRequest

_PLACE = ("step", "images", "train_flops", "seconds")  # where in training the final model is
# What the draws of one file have in common.
_ALIKE = ("fingerprint", "seed", "steps", "dataset_digest", "batch_size", "features_digest")


@dataclass(frozen=True)
class Rescoring:
    """One run to be scored with one setting. The plan's configuration has the setting."""

    plan: Plan
    draws: int  # that are asked for

    @property
    def name(self) -> str:
        """The name of the setting."""
        return evaluation_name(self.plan.config)

    @property
    def label(self) -> str:
        """The run and the setting in a few words."""
        return f"{self.plan.label} {self.name}"

    @property
    def path(self) -> Path:
        """The file of the draws."""
        return self.plan.directory.eval(self.name)

    def read(self) -> dict[str, Any] | None:
        """The contents of that file, or None without one."""
        return self.plan.directory.read_eval(self.name) if self.path.exists() else None

    @property
    def left(self) -> int:
        """How many draws are missing."""
        content = self.read()
        return self.draws if content is None else max(0, self.draws - len(content["draws"]))

    @property
    def passes(self) -> int:
        """How many images pass through the model for one draw."""
        config = self.plan.config.eval
        return config.samples * image_passes(config)


def evaluation_name(config: RunConfig) -> str:
    """The name of a setting, which is also that of its file: `cfg1.5-ddim250-50k-inception`.

    It ends in the first digits that identify the autoencoder and the real images, if any.
    """
    scored = config.eval
    scale = repr(scored.cfg_scale).removesuffix(".0")
    choices = {
        f"{scored.cfg_channels}channels": scored.cfg_channels is not None,
        "clip" if scored.clip else "noclip": scored.clip is not None,
        scored.variance: scored.variance != "small",
        scored.spacing: scored.spacing != "even",
    }
    sampler = "-".join([f"{scored.sampler}{scored.sampling_steps}", *filter(choices.get, choices)])
    name = f"cfg{scale}-{sampler}-{metric_suffix(scored.samples)}-{config.metrics.features}"
    given = filter(None, (config.data.vae_digest, config.metrics.real_digest))
    return "-".join([name, *(digest[:8] for digest in given)])


class Reporter(Protocol):
    """Receives what happens in `rescore`."""

    def begin(self, job: Rescoring) -> None:
        """A setting begins."""

    def working(self, activity: str, done: int, parts: int) -> None:
        """So many parts of some work are done."""

    def scored(self, job: Rescoring, row: dict[str, Any]) -> None:
        """A draw was scored and written."""


def plan_rescoring(
    directories: Sequence[RunDirectory],
    settings: Sequence[Mapping[str, Any]],
    draws: int,
    device: torch.device,
    *,
    data: Path | None = None,
    trust: bool = False,
) -> tuple[list[Rescoring], list[tuple[Path, DitbenchError]]]:
    """Check what would be scored: every complete run with every setting. Nothing is written.

    Of `settings`, see `RunConfig.with_values`, a value that is None stays that of the final score.
    Each has so many `draws` in the end. `data` is where the images are now, by default where they
    were; `trust` executes the copies of external blocks in the runs. Returns the work, and the runs
    that are skipped: path and reason.
    """
    read = cache(load_dataset)  # runs on the same images share them
    jobs: list[Rescoring] = []
    skipped: list[tuple[Path, DitbenchError]] = []
    for directory in directories:
        try:
            if not directory.is_complete():
                hint = "`ditbench run` with its options resumes it"
                raise DitbenchError("incomplete: only complete runs are scored again", hint)
            trained = read_config(directory, trust=trust)
            place = trained.data.path if data is None else data
            source = trained.data.name if data is None else source_at(trained, data)
            dataset = read(source, place, trained.data.settings)
            check_images(dataset, trained.data.digest, "it")
            jobs += [
                Rescoring(_plan(directory, trained, each, dataset, device), draws)
                for each in settings
            ]
        except DitbenchError as error:
            skipped.append((directory.path, error))
    return jobs, skipped


def _plan(
    directory: RunDirectory,
    trained: RunConfig,
    settings: Mapping[str, Any],
    dataset: ImageDataset,
    device: torch.device,
) -> Plan:
    features = settings.get("metrics__features")
    if features is None and trained.metrics.features == LATENTS and settings.get("data__vae"):
        features = AUTO  # of images from now on
    also = None if features is None else ()  # further features were those of the run
    given = {**settings, "metrics__features": features, "metrics__also": also}
    config = as_in_final(trained, given)
    config = config.with_values(metrics__features=choose_features(config)[0])
    config = config.with_values(**digests(config, dataset))
    extractor_class(config.metrics.features, scored_as(config, dataset))
    objective = build_objective(config)
    sampler = objective.check_sampling(config.eval.sampler, config.eval.sampling_steps)
    task = Task(config.with_values(eval__sampler=sampler), dataset, objective, device)
    plan = plan_run(task, directory, count_cost(task))
    return replace(plan, backend=backend_for(task, directory))


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
        raise DitbenchError(
            f"{plan.directory.checkpoint} is of step {step}, but the run ended at step {steps}",
            "copy the file again from where it is whole",
        )
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
            raise DitbenchError(
                f"{job.path} was made with another {changed[0].replace('_', ' ')}",
                "move that file away to score the run again",
            )
    raise DitbenchError(
        f"{job.path} has other metrics than this version computes, or is damaged",
        "move that file away to score the run again",
    )
