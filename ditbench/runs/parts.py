"""The model and the objective of a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ditbench.models.cost import Cost, count
from ditbench.models.dit import DiT
from ditbench.models.ops import PLAIN, Ops
from ditbench.objectives import create_objective
from ditbench.plugins.lookup import block_errors, find_block

if TYPE_CHECKING:
    from ditbench.config import RunConfig
    from ditbench.data.dataset import ImageDataset
    from ditbench.objectives.base import Objective


def model_arguments(
    config: RunConfig, dataset: ImageDataset, objective: Objective
) -> dict[str, Any]:
    """The arguments of both `DiT` and `cost.count` for a run."""
    return {
        "block": find_block(config.block),
        "size": config.model.size,
        "height": dataset.height,
        "width": dataset.width,
        "channels": dataset.channels,
        "out_channels": objective.output_channels(dataset.channels),
        "num_classes": dataset.num_classes,
        "mlp_ratio": config.model.mlp_ratio,
        "options": config.options,
        **config.model.switches,
    }


def count_cost(config: RunConfig, dataset: ImageDataset, objective: Objective) -> Cost:
    """The cost of the model of a run.

    Raises:
        DitbenchError: the model cannot be built.
    """
    with block_errors(config.block):
        return count(**model_arguments(config, dataset, objective))


def build_model(
    config: RunConfig,
    dataset: ImageDataset,
    objective: Objective,
    device: torch.device,
    ops: Ops = PLAIN,
) -> DiT:
    """The initialised model of a run.

    It is built on the meta device and initialised once: torch's own initialisation, which draws
    from the global generator, never runs.
    """
    with torch.device("meta"):
        model = DiT(**model_arguments(config, dataset, objective), ops=ops)
    model.to_empty(device="cpu")
    model.initialize(config.seed)
    return model.to(device)


def build_objective(config: RunConfig) -> Objective:
    """The objective of a run."""
    options = config.objective.model_dump(exclude={"name"}, exclude_none=True)
    return create_objective(config.objective.name, **options)
