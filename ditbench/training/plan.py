"""A run before it trains: its configuration checked against everything that it names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ditbench.data import load_dataset
from ditbench.errors import DitbenchError
from ditbench.metrics import extractor_class
from ditbench.models.cost import Cost, count
from ditbench.rundir import RunDirectory
from ditbench.training.environment import resolve_precision
from ditbench.training.parts import create_configured_objective, model_arguments
from ditbench.training.train import evaluation_steps

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from ditbench.config import RunConfig
    from ditbench.data.dataset import ImageDataset
    from ditbench.objectives.base import Objective


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
    """

    config: RunConfig
    directory: RunDirectory
    cost: Cost
    dataset: ImageDataset
    objective: Objective
    device: torch.device

    @property
    def images(self) -> int:
        """Images that training will see."""
        return self.config.budget.steps * self.config.train.batch_size

    @property
    def train_flops(self) -> float:
        """Floating-point operations of training: 3 x forward MACs x 2 x images."""
        return self.cost.train_flops_per_image * self.images

    def as_dict(self) -> dict[str, Any]:
        """What `--dry-run` tells."""
        return {
            **self.cost.as_dict(),
            "seed": self.config.seed,
            "steps": self.config.budget.steps,
            "images": self.images,
            "train_flops": self.train_flops,
            "evaluation_steps": evaluation_steps(self.config.budget.steps, self.config.eval.points),
            "path": str(self.directory.path),
            "complete": self.directory.is_complete(),
        }


def plan(config: RunConfig, out: Path, device: torch.device) -> Plan:
    """Check one configuration against everything it names; see `plan_all`."""
    return plan_all([config], out, device)[0]


def plan_all(configs: list[RunConfig], out: Path, device: torch.device) -> list[Plan]:
    """Check configurations against everything they name; nothing is written.

    Runs on the same images share them: they are read once.

    Raises:
        DitbenchError: for an unknown name, a batch larger than the data, a patch size that does not
            divide the images, features that do not fit them, a sampler that the objective does not
            have, data that are not those of the configuration.
    """
    datasets: dict[tuple[str, Path | None], ImageDataset] = {}
    plans = []
    for config in configs:
        source = (config.data.name, config.data.path)
        if source not in datasets:
            datasets[source] = load_dataset(*source)
        plans.append(_plan(config, datasets[source], out, device))
    return plans


def _plan(config: RunConfig, dataset: ImageDataset, out: Path, device: torch.device) -> Plan:
    _check_data(config, dataset)
    extractor_class(config.metrics.features, dataset)
    objective = create_configured_objective(config)
    config = _resolve(config, dataset, objective, device)
    cost = count(**model_arguments(config, dataset, objective))
    directory = RunDirectory.of(out, config.preset, config.block, config.seed, config.fingerprint)
    return Plan(config, directory, cost, dataset, objective, device)


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


def _resolve(
    config: RunConfig, dataset: ImageDataset, objective: Objective, device: torch.device
) -> RunConfig:
    """Replace every `auto`, so that the fingerprint says what happens; check the sampler."""
    asked = None if config.eval.sampler == "auto" else config.eval.sampler
    return config.with_values(
        data__digest=dataset.digest,
        train__precision=resolve_precision(config.train.precision, device),
        eval__sampler=objective.check_sampling(asked, config.eval.sampling_steps),
    )
