"""Weights that no run here has trained, sampled and scored: `sample --init` and `eval --init`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ditbench.config import RunConfig
from ditbench.config.derive import safe_name
from ditbench.data import recorded
from ditbench.data.latents.vae import Vae
from ditbench.errors import DitbenchError
from ditbench.rundir import WEIGHTS, RunDirectory
from ditbench.runs.machine.environment import resolve_precision, select_device
from ditbench.runs.origins.init import fit_of, identified
from ditbench.runs.planning.fit import check_effect
from ditbench.runs.planning.plan import (
    build_objective,
    count_cost,
    model_arguments,
    plan_run,
    resolve_all,
)
from ditbench.runs.planning.rescoring import Rescoring
from ditbench.runs.planning.task import Task
from ditbench.runs.scoring.scored import vae_digest
from ditbench.runs.scoring.trained import Opened, backend_for, check_decoder
from ditbench.weights.read import find_weights
from ditbench.weights.recognise import recognise

# Scores of weights go into `evals/` of a directory below this one.
PLACE = Path("results") / WEIGHTS


class ScoresOnly(RunDirectory):
    """The directory of the scores of weights; nothing else of a run is there."""

    def __init__(self, path: Path, config: RunConfig) -> None:
        super().__init__(path)
        self._facts = {"block": config.block, "seed": config.seed, "steps": 0}
        self._facts["fingerprint"] = config.fingerprint

    def read_result(self) -> dict[str, Any]:
        """What the result of a run would say of the model."""
        return self._facts

    def read_evaluations(self) -> list[dict[str, Any]]:
        """One row, of a model that has made no step."""
        return [{"step": 0, "images": 0, "train_flops": 0.0, "seconds": 0.0}]

    def _check_exists(self) -> None:
        """It is made when something is written."""


def open_weights(config: RunConfig, device_name: str) -> Opened:
    """The weights of `[init]`, to be sampled without images.

    The null class is the last embedding, unless `model.class_dropout_prob` is 0. Classes have their
    numbers for names. Raises a DitbenchError if the weights do not fit, or do not determine the
    input.
    """
    path, device = config.init.path, select_device(device_name)
    assert path is not None
    found = recognise(path)
    if found.side is None:
        raise DitbenchError(
            f"{path} has no positions, so its input has no known size",
            "name the folder of the DiTPipeline, with its transformer/config.json",
        )
    null = config.model.class_dropout_prob > 0
    names = [str(label) for label in range(max(1, found.embeddings - null))]
    facts: dict[str, Any] = {"shape": [found.channels, found.side, found.side], "classes": names}
    if config.data.vae is not None:
        vae = Vae.load(config.data.vae)
        facts["latents"] = vae.space(found.side * vae.downsampling).facts()
    dataset = recorded.stand_in(config.data.name, facts)
    check_decoder(path, config, dataset)
    objective = build_objective(config)
    config = config.with_values(
        init=identified(config.init),
        data__vae_digest=vae_digest(config, dataset),
        train__precision=resolve_precision(config.train.precision, device),
        eval__sampler=objective.check_sampling(config.eval.sampler, config.eval.sampling_steps),
    )
    task = _checked(Task(config, dataset, objective, device))
    return Opened(task, RunDirectory(find_weights(path)))


def plan_weights(
    config: RunConfig, settings: Sequence[Mapping[str, Any]], draws: int, device: torch.device
) -> list[Rescoring]:
    """Plan to score the weights of `[init]` on the images of a configuration. Nothing is written.

    Of `settings`, a value that is None stays that of `config`; otherwise as `plan_rescoring`.
    Raises a DitbenchError if the weights or the settings do not fit.
    """
    given = [{key: v for key, v in each.items() if v is not None} for each in settings]
    jobs = []
    for resolved in resolve_all([config.with_values(**each) for each in given], device):
        check_effect(resolved.config, resolved.dataset)
        task = _checked(resolved)
        init = task.config.init
        assert init.path is not None
        name = f"{safe_name(init.path.stem)}-{str(init.sha256)[:8]}-{task.dataset.digest[:8]}"
        directory = ScoresOnly(PLACE / name, task.config)
        plan = plan_run(task, directory, count_cost(task))
        jobs.append(Rescoring(replace(plan, backend=backend_for(task, directory)), draws))
    return jobs


def _checked(task: Task) -> Task:
    """The task, without a null class where the weights have none; they must lack nothing else."""
    fit = fit_of(task.config.init, model_arguments(task), whole=True)
    if not fit.without_null:
        return task
    return replace(task, config=task.config.with_values(model__class_dropout_prob=0.0))
