"""What the benchmark times: a model in training, and what builds such models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from ditbench.runs.planning.plan import Plan


@dataclass(frozen=True)
class Candidate:
    """A model in training."""

    update: Callable[[], object]  # one training step, from batch to EMA, without synchronizing
    average: nn.Module  # with the EMA weights and a `null_class`; used for sampling
    parameters: int  # trainable ones


@dataclass(frozen=True)
class Adapter:
    """Builds candidates from plans."""

    implementation: str  # the name and version of the package that the model is from
    build: Callable[[Plan], Candidate]  # at step 0, on the plan's device
    backend: Callable[[Plan], str]  # what computes the training steps: `plain`, `compile`, ...
    check: Callable[[Plan], None] = lambda _plan: None  # a DitbenchError if it cannot be built
