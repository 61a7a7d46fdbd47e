"""A trained run opened again: its configuration, its images, and its averaged weights."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from ditbench.config import RunConfig
from ditbench.data import load_dataset, recorded
from ditbench.data.dataset import ImageDataset
from ditbench.errors import DitbenchError
from ditbench.files import read_json
from ditbench.models.dit import DiT
from ditbench.plugins.lookup import find_block
from ditbench.rundir import RunDirectory
from ditbench.runs import reopen
from ditbench.runs.environment import select_device
from ditbench.runs.planning.plan import Task, begun_backend, build_model, build_objective
from ditbench.training.checkpoint import load_ema
from ditbench.training.device.backend import PLAIN_BACKEND, Backend, choose


def read_config(directory: RunDirectory, *, trust: bool) -> RunConfig:
    """The configuration of a run with a checkpoint; its own block is made known.

    `trust` is needed to execute the copy of an external block in the run.

    Raises:
        DitbenchError: no run or checkpoint; an external block is missing or has changed.
    """
    config = reopen.read_config(directory)
    if not directory.checkpoint.is_file():
        raise DitbenchError(
            f"{directory.path} has no checkpoint",
            "reference runs have none; train your own with `ditbench run`",
        )
    reopen.restore_own_block(directory, config, trust=trust)
    return config


def recorded_images(directory: RunDirectory, config: RunConfig) -> tuple[ImageDataset, bool]:
    """A data set with the shape and classes of a run: from env.json, so that images may be gone.

    Earlier versions did not record them: the images are then loaded. The second value is whether
    these have changed since; their classes then have numbers for names.
    """
    facts: dict[str, Any] = {}
    with suppress(DitbenchError):  # a missing or damaged file
        facts = read_json(directory.environment)
    if recorded.RECORD in facts:
        return recorded.stand_in(config.data.name, facts[recorded.RECORD]), False
    dataset = load_dataset(config.data.name, config.data.path, config.data.settings)
    if config.data.digest in ("auto", dataset.digest):
        return dataset, False
    return replace(dataset, class_names=tuple(map(str, range(dataset.num_classes)))), True


def sampling_task(
    directory: RunDirectory, settings: dict[str, Any], device_name: str, *, trust: bool
) -> tuple[Task, bool]:
    """What a run's model is sampled with: as its final score, but for the settings that are given.

    A setting (see `RunConfig.with_values`) that is None stays that of the run. The second value is
    that of `recorded_images`.

    Raises:
        DitbenchError: as `read_config`; or the sampler or its steps do not fit the objective.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    trained = read_config(directory, trust=trust)
    config = trained.with_values(**{"eval__sampling_steps": trained.eval.steps_of_final} | given)
    device = select_device(device_name)
    dataset, changed = recorded_images(directory, config)
    objective = build_objective(config)
    sampler = None if config.eval.sampler == "auto" else config.eval.sampler
    objective.check_sampling(sampler, config.eval.sampling_steps)
    return Task(config, dataset, objective, device), changed


def backend_for(task: Task, directory: RunDirectory) -> Backend:
    """The backend that samples a run: the one that trained it, where device and machine allow."""
    block, begun = find_block(task.config.block), begun_backend(task, directory)
    return choose("auto", block, task.config.train.precision, task.device, begun)


def averaged_model(
    task: Task, directory: RunDirectory, backend: Backend = PLAIN_BACKEND, *, changed: bool = False
) -> tuple[DiT, int]:
    """The averaged weights of a run's checkpoint, as a model for sampling, and their step.

    `changed` is whether the images have changed since, which may be why they do not fit.
    """
    model = build_model(task, backend.ops).eval()
    try:
        step = load_ema(directory.checkpoint, model)
    except DitbenchError as error:
        if not changed:
            raise
        raise DitbenchError(
            f"the images have changed since {directory.path} was trained, and the version that "
            "trained it did not record their shape and classes",
            "restore the images at the path in its config.toml",
        ) from error
    backend.prepare([model], task.objective)
    return model, step
