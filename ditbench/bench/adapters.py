"""The adapters of the benchmark: of our own model, and of peers by name."""

from __future__ import annotations

from importlib import import_module

from ditbench import __version__
from ditbench.bench.candidate import Adapter, Candidate
from ditbench.errors import DitbenchError, unknown_name
from ditbench.runs.planning.plan import Plan, build_trainer

# Name -> adapter in `diffusers_peer`, which is imported, and its package with it, when asked for.
PEERS = {"diffusers": "EAGER", "diffusers-compiled": "COMPILED"}


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
