"""What the benchmark times: a model in training, and the adapters that build such models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from ditbench import __version__
from ditbench.errors import DitbenchError, unknown_name
from ditbench.runs.planning.plan import Plan, build_trainer

if TYPE_CHECKING:
    from torch import nn

# Name -> adapter in `diffusers_peer`, which is imported, and its package with it, when asked for.
PEERS = {"diffusers": "EAGER", "diffusers-compiled": "COMPILED"}


@dataclass(frozen=True)
class Candidate:
    """A model in training.

    Attributes:
        update: makes one training step, from batch to EMA, without synchronizing.
        average: the model with the EMA weights, with a `null_class`; used for sampling.
        parameters: the number of trainable parameters.
    """

    update: Callable[[], object]
    average: nn.Module
    parameters: int


@dataclass(frozen=True)
class Adapter:
    """Builds candidates from plans.

    Attributes:
        implementation: the name and version of the package that the model is from.
        build: makes the candidate of a plan, at step 0, on its device.
        backend: what computes the training steps of a plan, such as `plain` or `compile`.
        check: raises a DitbenchError for a plan whose model cannot be built.
    """

    implementation: str
    build: Callable[[Plan], Candidate]
    backend: Callable[[Plan], str]
    check: Callable[[Plan], None] = lambda _plan: None


def _build(plan: Plan) -> Candidate:
    trainer = build_trainer(plan)
    return Candidate(trainer.update, trainer.ema.model, plan.cost.parameters)


# The model and the trainer of `ditbench run`.
OURS = Adapter(f"ditbench {__version__}", _build, lambda plan: plan.backend.name)


def load_peer(name: str) -> Adapter:
    """Import the adapter of a peer; a DitbenchError if it is unknown or not installed."""
    if name not in PEERS:
        raise unknown_name("peer", name, PEERS)
    try:
        module = import_module("ditbench.bench.diffusers_peer")
    except ModuleNotFoundError as error:
        raise DitbenchError(
            f"the peer '{name}' needs the package {error.name}", f"pip install {error.name}"
        ) from error
    adapter: Adapter = getattr(module, PEERS[name])
    return adapter
