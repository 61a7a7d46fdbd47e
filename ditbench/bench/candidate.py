"""What is timed in a benchmark: a model in training, whoever wrote it and its training step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ditbench import __version__
from ditbench.runs.parts import build_trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from ditbench.runs.plan import Plan


@dataclass(frozen=True)
class Contender:
    """A model in training.

    Attributes:
        update: makes one training step, from batch to EMA, without waiting for the device.
        average: the model of the EMA weights, with a `null_class`: what is sampled with.
        parameters: trainable ones.
        compiled: whether torch compiles its training.
    """

    update: Callable[[], object]
    average: nn.Module
    parameters: int
    compiled: bool = False


class Maker(Protocol):
    """Something that makes contenders.

    Attributes:
        implementation: whose model it is, and in which version.
    """

    @property
    def implementation(self) -> str:
        """Whose model it is, and in which version."""

    def check(self, plan: Plan) -> None:
        """Refuse, by a DitbenchError, a plan of which there can be no model."""

    def build(self, plan: Plan) -> Contender:
        """The contender of a plan, at step 0, on its device."""


class Ours:
    """The model and trainer of `ditbench run`."""

    @property
    def implementation(self) -> str:
        """Our own."""
        return f"ditbench {__version__}"

    def check(self, plan: Plan) -> None:
        """Whatever can be planned can be built."""

    def build(self, plan: Plan) -> Contender:
        """The trainer of a plan."""
        trainer = build_trainer(plan)
        parameters, compiled = plan.cost.parameters, plan.compiling.on
        return Contender(trainer.update, trainer.ema.model, parameters, compiled)
