"""The parts of a run that its configuration asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ditbench.models.dit import DiT
from ditbench.models.layers import PLAIN, Ops
from ditbench.objectives import create_objective
from ditbench.plugins.lookup import find_block
from ditbench.training.trainer import Trainer

if TYPE_CHECKING:
    from ditbench.config import RunConfig
    from ditbench.data.dataset import ImageDataset
    from ditbench.objectives.base import Objective
    from ditbench.training.plan import Plan


def model_arguments(
    config: RunConfig, dataset: ImageDataset, objective: Objective
) -> dict[str, Any]:
    """The arguments of a run's model, which are those of its cost too: see `DiT` and `count`."""
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


def build_model(
    config: RunConfig,
    dataset: ImageDataset,
    objective: Objective,
    device: torch.device,
    ops: Ops = PLAIN,
) -> DiT:
    """The initialised model of a run, for its images and objective.

    It is built without weights and filled once: torch's own initialisation, which would draw from
    the global stream, never runs.
    """
    with torch.device("meta"):
        model = DiT(**model_arguments(config, dataset, objective), ops=ops)
    model.to_empty(device="cpu")
    model.initialize(config.seed)
    return model.to(device)


def build_trainer(run: Plan) -> Trainer:
    """The trainer of a planned run, with a model at step 0."""
    model = build_model(run.config, run.dataset, run.objective, run.device, run.backend.ops)
    return Trainer(
        run.config,
        model,
        run.objective,
        run.dataset,
        run.device,
        run.budget,
        backend=run.backend,
    )


def create_configured_objective(config: RunConfig) -> Objective:
    """The objective that a configuration asks for."""
    options = config.objective.model_dump(exclude={"name"}, exclude_none=True)
    return create_objective(config.objective.name, **options)
