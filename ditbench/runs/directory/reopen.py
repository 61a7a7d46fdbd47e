"""A run directory opened again: what it was trained with, and its own block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ditbench.config import RunConfig, read_toml, validate
from ditbench.data import WITH_SETTINGS, loader_of
from ditbench.data.dataset import ImageDataset
from ditbench.errors import DitbenchError
from ditbench.plugins.lookup import restore_block
from ditbench.rundir import RunDirectory


def read_config(directory: RunDirectory) -> RunConfig:
    """The configuration of a run; a DitbenchError if there is none."""
    directory.check_config()
    table = read_toml(directory.config)
    try:
        return validate(table)
    except DitbenchError as error:
        hint = "restore the file, or use the version of ditbench that wrote it: see env.json"
        raise DitbenchError(f"{directory.config}: {error.message}", hint) from error


def restore_own_block(directory: RunDirectory, config: RunConfig, *, trust: bool) -> None:
    """Look up the block of a run if it is not ditbench's own; see `restore_block` for `trust`."""
    origin = config.strategy
    restore_block(config.block, origin.location, origin.sha256, directory.strategy, trust=trust)


def source_at(config: RunConfig, path: Path) -> str:
    """The data set of a run whose images are now at a path: a folder may have become an .npz."""
    return loader_of(path) if config.data.name in WITH_SETTINGS else config.data.name


def check_images(dataset: ImageDataset, digest: object, run: object) -> None:
    """Refuse images that are not those that a run, which messages name so, was trained on."""
    if dataset.digest != digest:
        what = f"the images of '{dataset.name}' are not those that {run} was trained on"
        raise DitbenchError(what, "name those, at the place where they are now: --data PATH")


def complete_result(directory: RunDirectory) -> dict[str, Any]:
    """The result of a run; a DitbenchError if it is not complete, or a file of it has changed."""
    path = directory.path
    if reason := directory.failed_because():
        raise DitbenchError(
            f"{path} has no final score: {reason}",
            "`ditbench run` with its options and another --out trains it again",
        )
    if not directory.is_complete():
        what = f"{path} is not complete"
        raise DitbenchError(what, "resume it first: the command that began it, once more")
    result = directory.read_result()
    try:
        directory.check_recorded(result)
    except DitbenchError as error:
        raise DitbenchError(f"{path}: {error.message}", "restore the file") from error
    return result


def origin_of(config: RunConfig, directory: RunDirectory) -> RunDirectory:
    """The directory that a run starts from: its parent's before its first checkpoint."""
    if directory.checkpoints or config.parent.path is None:
        return directory
    return RunDirectory(config.parent.path)
