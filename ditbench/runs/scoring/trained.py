"""A trained run opened again: its configuration, its images, and its averaged weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ditbench.config import RunConfig
from ditbench.data import load_dataset, recorded
from ditbench.data.dataset import ImageDataset
from ditbench.errors import DitbenchError
from ditbench.models.dit import DiT
from ditbench.plugins.lookup import find_block
from ditbench.rundir import RunDirectory
from ditbench.runs.directory import reopen
from ditbench.runs.machine.environment import select_device
from ditbench.runs.origins.init import start_from
from ditbench.runs.planning.plan import begun_backend, build_model, build_objective, model_arguments
from ditbench.runs.planning.task import Task
from ditbench.runs.scoring.scored import vae_digest
from ditbench.training.checkpoint import checkpoint_digest, load_ema
from ditbench.training.device.backend import PLAIN_BACKEND, Backend, choose


def read_config(directory: RunDirectory, *, trust: bool) -> RunConfig:
    """The configuration of a run with a checkpoint; its own block is made known.

    `trust` is needed to execute the copy of an external block in the run. Raises a DitbenchError if
    there is no run or checkpoint, or an external block is missing or has changed.
    """
    config = reopen.read_config(directory)
    if not directory.checkpoint.is_file():
        what = f"{directory.path} has no checkpoint"
        raise DitbenchError(what, "reference runs have none; train your own with `ditbench run`")
    reopen.restore_own_block(directory, config, trust=trust)
    return config


def recorded_images(directory: RunDirectory, config: RunConfig) -> ImageDataset:
    """A data set with the shape and classes of a run: from env.json, so that images may be gone.

    Earlier versions did not record them: the images are then loaded, and must not have changed.
    """
    facts = directory.facts()
    if recorded.RECORD in facts:
        return recorded.stand_in(config.data.name, facts[recorded.RECORD])
    dataset = load_dataset(config.data.name, config.data.path, config.data.settings)
    if config.data.digest not in ("auto", dataset.digest):
        raise DitbenchError(
            f"the images have changed since {directory.path} was trained, and the version that "
            "trained it did not record their shape and classes",
            "restore the images at the path in its config.toml",
        )
    return dataset


class Opened(NamedTuple):
    """A trained model that is sampled: of a run, or of a file of weights."""

    task: Task  # what it is sampled with
    directory: RunDirectory  # without a checkpoint, the weights are those of the task's `[init]`

    @property
    def is_run(self) -> bool:
        """Whether the weights are those of a run."""
        return self.directory.checkpoint.is_file()

    @property
    def digest(self) -> str:
        """Identifies the weights."""
        if self.is_run:
            return checkpoint_digest(self.directory.checkpoint)
        return str(self.task.config.init.sha256)


def open_run(run: Path, settings: Mapping[str, Any], device_name: str, *, trust: bool) -> Opened:
    """A run whose model is sampled as in its final score, but for the settings that are given.

    A setting (see `RunConfig.with_values`) that is None stays that of the run. Errors are those of
    `read_config` and `vae_digest`; or latents have no autoencoder, or the sampler does not fit.
    """
    directory = RunDirectory(run)
    config = as_in_final(read_config(directory, trust=trust), settings)
    device = select_device(device_name)
    dataset = recorded_images(directory, config)
    check_decoder(run, config, dataset)
    config = config.with_values(data__vae_digest=vae_digest(config, dataset))
    objective = build_objective(config)
    objective.check_sampling(config.eval.sampler, config.eval.sampling_steps)
    return Opened(Task(config, dataset, objective, device), directory)


def as_in_final(trained: RunConfig, settings: Mapping[str, Any]) -> RunConfig:
    """The configuration of a run's final score, with the settings that are given, not None."""
    given = {key: value for key, value in settings.items() if value is not None}
    # Another autoencoder has another digest.
    given |= {f"{key}_digest": None for key in ("data__vae", "metrics__real") if key in given}
    steps = {"eval__sampling_steps": trained.eval.steps_of_final}
    return trained.with_values(**steps | {"eval__final_sampling_steps": None} | given)


def check_decoder(place: Path, config: RunConfig, dataset: ImageDataset) -> None:
    """Refuse to show latents without an autoencoder."""
    latents = dataset.latents is not None or dataset.channels not in (1, 3)
    if latents and config.data.vae is None:
        what = f"{place} makes latents, not images"
        raise DitbenchError(what, "name the autoencoder that decodes them: --vae PATH")


def backend_for(task: Task, directory: RunDirectory) -> Backend:
    """The backend that samples a run: the one that trained it, where device and machine allow."""
    block, begun = find_block(task.config.block), begun_backend(task, directory)
    return choose("auto", block, task.config.train.precision, task.device, begun)


def averaged_model(
    task: Task, directory: RunDirectory, backend: Backend = PLAIN_BACKEND
) -> tuple[DiT, int]:
    """The averaged weights of a run's checkpoint, as a model for sampling, and their step.

    Without a checkpoint, these are the weights of `[init]`, of step 0.
    """
    model = build_model(task, backend.ops(task.config.train.precision)).eval()
    if directory.checkpoint.is_file() or task.config.init.path is None:
        step = load_ema(directory.checkpoint, model)
    else:
        start_from(task.config.init, [model], model_arguments(task), whole=True)
        step = 0
    backend.prepare([model], task.objective)
    return model, step
