"""What the benchmark times, a model in training, and what builds it: our own, and peers by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from torch import nn

from ditbench import __version__
from ditbench.errors import DitbenchError, unknown_name
from ditbench.runs.planning.plan import Plan, build_trainer

# Name -> adapter in `diffusers_peer`, which is imported, and its package with it, when asked for.
PEERS = {"diffusers": "EAGER", "diffusers-compiled": "COMPILED"}


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
        what = f"the peer '{name}' needs the package {error.name}"
        raise DitbenchError(what, f"pip install {error.name}") from error
    adapter: Adapter = getattr(module, PEERS[name])
    return adapter
