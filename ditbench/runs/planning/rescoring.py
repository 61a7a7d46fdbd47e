"""What `ditbench eval` is to do: complete runs to be scored with other settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ditbench.config import RunConfig
from ditbench.data import load_dataset
from ditbench.data.dataset import ImageDataset
from ditbench.distances import LATENTS
from ditbench.errors import DitbenchError
from ditbench.metrics import AUTO, extractor_class
from ditbench.rundir import RunDirectory, metric_suffix
from ditbench.runs.directory.reopen import check_images, source_at
from ditbench.runs.planning.features import choose_features
from ditbench.runs.planning.plan import Plan, build_objective, count_cost, plan_run
from ditbench.runs.planning.speed import image_passes
from ditbench.runs.planning.task import Task
from ditbench.runs.scoring.scored import digests, scored_as
from ditbench.runs.scoring.trained import as_in_final, backend_for, read_config


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
