"""A run before it trains: its configuration checked against everything that it names."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from ditbench.data import load_dataset
from ditbench.errors import DitbenchError
from ditbench.metrics import extractor_class
from ditbench.models.cost import Cost, count
from ditbench.plugins.lookup import block_errors, check_block, external_block, find_block
from ditbench.plugins.options import check_options, own_options
from ditbench.rundir import RunDirectory
from ditbench.training.backend import PLAIN_BACKEND, Backend, choose
from ditbench.training.budget import create_budget
from ditbench.training.environment import resolve_precision
from ditbench.training.parts import create_configured_objective, model_arguments

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

    from ditbench.config import RunConfig
    from ditbench.data.dataset import ImageDataset
    from ditbench.objectives.base import Objective
    from ditbench.training.budget import Budget


@dataclass(frozen=True)
class Plan:
    """Everything that is known of a run before it trains.

    Attributes:
        config: with precision and sampler resolved.
        directory: where it goes.
        cost: of the model.
        dataset: the images.
        objective: the loss and samplers.
        device: where it trains.
        budget: how long it trains; one in FLOPs is in steps here.
        backend: of its training.
        notes: what env.json says besides, such as where a learning rate came from.
        sweeps: whether it is one of several that differ in their learning rate.
    """

    config: RunConfig
    directory: RunDirectory
    cost: Cost
    dataset: ImageDataset
    objective: Objective
    device: torch.device
    budget: Budget
    backend: Backend = PLAIN_BACKEND
    notes: dict[str, Any] = field(default_factory=dict)
    sweeps: bool = False

    @property
    def label(self) -> str:
        """What tells it from the others of one command."""
        rate = f" lr {self.config.train.lr:g}" if self.sweeps else ""
        return f"{self.config.block}{rate} seed {self.config.seed}"

    def train_flops(self, steps: int) -> float:
        """Floating-point operations of so much training: 3 x forward MACs x 2 x images."""
        return self.cost.train_flops_per_image * (steps * self.config.train.batch_size)


def plan(config: RunConfig, out: Path, device: torch.device, compiling: str = "auto") -> Plan:
    """Check one configuration against everything it names; see `plan_all`."""
    return plan_all([config], out, device, compiling)[0]


def plan_all(
    configs: list[RunConfig],
    out: Path,
    device: torch.device,
    compiling: str = "auto",
    settle: Callable[[list[RunConfig]], list[RunConfig]] = list,
) -> list[Plan]:
    """Check configurations against everything they name; nothing is written.

    Runs on the same images share them, and equal models are counted once.

    Args:
        configs: one a run.
        out: where run directories go.
        device: where to train.
        compiling: `auto`, `on` or `off`, see `compile_choice.decide`.
        settle: has the last word on the configurations, once no `auto` is left in them.

    Raises:
        DitbenchError: for an unknown name, a batch larger than the data, a patch size that does not
            divide the images, features that do not fit them, a sampler that the objective does not
            have, data that are not those of the configuration, FLOPs that are fewer steps than
            evaluations, an option that none of the strategies has; `on` where torch cannot compile.
    """
    for config in configs:
        check_options([each.block for each in configs], config.model.size, config.options)
    read, counted = cache(load_dataset), count
    parts = [_check(config, read(config.data.name, config.data.path), device) for config in configs]
    settled = settle([config for config, _, _ in parts])
    return [
        _plan(config, dataset, objective, counted, out, device, compiling)
        for config, (_, dataset, objective) in zip(settled, parts, strict=True)
    ]


def _check(
    config: RunConfig, dataset: ImageDataset, device: torch.device
) -> tuple[RunConfig, ImageDataset, Objective]:
    """The configuration with every `auto` resolved, and what it names."""
    _check_data(config, dataset)
    extractor_class(config.metrics.features, dataset)
    objective = create_configured_objective(config)
    return resolve(config, dataset, objective, device), dataset, objective


def _plan(
    config: RunConfig,
    dataset: ImageDataset,
    objective: Objective,
    counted: Callable[..., Cost],
    out: Path,
    device: torch.device,
    choice: str,
) -> Plan:
    with block_errors(config.block):
        cost = counted(**model_arguments(config, dataset, objective), name=config.block)
    directory = RunDirectory.of(out, config.preset, config.block, config.seed, config.fingerprint)
    budget = create_budget(config, cost)
    backend = choose(choice, find_block(config.block), config.train.precision, device)
    return Plan(config, directory, cost, dataset, objective, device, budget, backend)


def _check_data(config: RunConfig, dataset: ImageDataset) -> None:
    """Refuse data that are not those of the configuration, or that do not fit its numbers."""
    if config.data.digest not in ("auto", dataset.digest):
        raise DitbenchError(
            f"the images of '{dataset.name}' are not those that this configuration was made for",
            "leave data.digest out of the configuration for a run on other images",
        )
    if config.train.batch_size > len(dataset):
        raise DitbenchError(
            f"batch size {config.train.batch_size} is larger than the data ({len(dataset)} images)",
            f"pass --batch-size {len(dataset)} or less",
        )
    if config.eval.samples < dataset.num_classes:
        raise DitbenchError(
            f"eval.samples = {config.eval.samples} is fewer than the {dataset.num_classes} classes",
            f"pass --set eval.samples={dataset.num_classes} or more",
        )


def resolve(
    config: RunConfig, dataset: ImageDataset, objective: Objective, device: torch.device
) -> RunConfig:
    """Replace every `auto`, so that the fingerprint says what happens; check the sampler.

    Of the options those stay that the strategy has, and its defaults are filled in. So is what a
    strategy from outside is.
    """
    asked = None if config.eval.sampler == "auto" else config.eval.sampler
    theirs = external_block(config.block)
    return config.with_values(
        block=check_block(config.block),
        strategy={"location": theirs.location, "sha256": theirs.sha256} if theirs else {},
        data__digest=dataset.digest,
        options=own_options(config.block, config.model.size, config.options),
        train__precision=resolve_precision(config.train.precision, device),
        eval__sampler=objective.check_sampling(asked, config.eval.sampling_steps),
    )
