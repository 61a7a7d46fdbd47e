"""A task: what is trained and sampled, of which a plan makes a run."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from ditbench.config import RunConfig
from ditbench.data.dataset import ImageDataset
from ditbench.objectives.base import Objective
from ditbench.world import ALONE, World


@dataclass(frozen=True)
class Task:
    """What a model is built from, trained on and sampled for."""

    config: RunConfig  # without `auto`, see `resolve`
    dataset: ImageDataset
    objective: Objective
    device: torch.device
    world: World = field(default=ALONE, kw_only=True)  # the processes that execute it

    @property
    def clip(self) -> bool:
        """Whether samples are clamped to [-1, 1]; by default pixels are, and latents are not."""
        given = self.config.eval.clip
        return self.dataset.latents is None if given is None else given
