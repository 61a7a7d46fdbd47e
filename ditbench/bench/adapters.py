"""What the benchmark times: a model in training, and the adapters that build such models."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from ditbench import __version__
from ditbench.errors import DitbenchError, unknown_name
from ditbench.runs.plan import build_trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from ditbench.runs.plan import Plan

# Name -> (package that it needs, adapter). A peer is imported when it is asked for.
PEERS = {
    "diffusers": ("diffusers", "ditbench.bench.diffusers_peer:EAGER"),
    "diffusers-compiled": ("diffusers", "ditbench.bench.diffusers_peer:COMPILED"),
}


@dataclass(frozen=True)
class Candidate:
    """A model in training.

    Attributes:
        update: makes one training step, from batch to EMA, without synchronizing.
        average: the model with the EMA weights, with a `null_class`; used for sampling.
        parameters: the number of trainable parameters.
        backend: what computes a training step, such as `plain` or `compile`.
    """

    update: Callable[[], object]
    average: nn.Module
    parameters: int
    backend: str


class Adapter(Protocol):
    """Builds candidates from plans."""

    @property
    def implementation(self) -> str:
        """The name and version of the package that the model is from."""

    def check(self, plan: Plan) -> None:
        """Raise a DitbenchError for a plan whose model cannot be built."""

    def build(self, plan: Plan) -> Candidate:
        """The candidate of a plan, at step 0, on its device."""


class Ours:
    """The model and the trainer of `ditbench run`."""

    implementation = f"ditbench {__version__}"

    def check(self, plan: Plan) -> None:
        """Accept every plan."""

    def build(self, plan: Plan) -> Candidate:
        """The trainer of a plan."""
        trainer = build_trainer(plan)
        parameters, backend = plan.cost.parameters, plan.backend.name
        return Candidate(trainer.update, trainer.ema.model, parameters, backend)


def load_peer(name: str) -> Adapter:
    """Import the adapter of a peer.

    Raises:
        DitbenchError: the peer is unknown, or its package is not installed.
    """
    if name not in PEERS:
        raise unknown_name("peer", name, PEERS)
    package, location = PEERS[name]
    if find_spec(package) is None:
        raise DitbenchError(
            f"the peer '{name}' needs the package {package}", f"pip install {package}"
        )
    module, _, attribute = location.partition(":")
    adapter: Adapter = getattr(import_module(module), attribute)
    return adapter
