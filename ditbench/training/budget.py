"""What training may use up, and what is due at which part of it.

Everything is measured in the budget's own unit: a position is how many steps, or how many seconds,
of it are used. Warm-up, log and evaluations follow that, and so the budget, never a number of steps
of their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from ditbench.errors import DitbenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ditbench.config import RunConfig
    from ditbench.models.cost import Cost

# Rows of train.csv in a run; each costs one wait for the device.
LOG_ROWS = 200


class Budget(ABC):
    """One amount that training may use up; training ends with the last evaluation.

    Args:
        amount: all there is, in the budget's unit.
        marks: the positions at which to evaluate, rising; the last is the amount.
        log_interval: between two rows of the log, in the budget's unit.

    Attributes:
        unit: the unit's name in the singular.
        symbol: what stands after a number in this unit.
        steps: the updates that the budget is, or None where only the clock will tell.
        rehearsal: updates of a throw-away model before the first one that counts.
    """

    unit: ClassVar[str]
    symbol: ClassVar[str]
    rehearsal: ClassVar[int] = 0

    def __init__(self, amount: float, marks: Sequence[float], log_interval: float) -> None:
        self.amount = amount
        self.marks = marks
        self.log_interval = log_interval

    @property
    @abstractmethod
    def steps(self) -> int | None:
        """The updates that the budget is, or None where only the clock will tell."""

    @abstractmethod
    def position(self, step: int, seconds: Callable[[], float]) -> float:
        """How much is used after `step` updates in so many seconds, in the budget's unit.

        The seconds are asked for where they matter only: to know them can mean to wait.
        """

    @abstractmethod
    def ramp(self, position: float) -> float:
        """The share of the full learning rate, in 0..1, of the update that begins at a position."""

    def logs(self, before: float, after: float) -> bool:
        """Whether the update between two positions brings a row of the log."""
        return after // self.log_interval > before // self.log_interval

    def evaluates(self, position: float, evaluations: int) -> bool:
        """Whether to evaluate at a position, after so many evaluations."""
        return position >= self.marks[evaluations]

    def ends(self, evaluations: int) -> bool:
        """Whether so many evaluations are all: the last one stands at the end."""
        return evaluations >= len(self.marks)

    def place(self, position: float) -> str:
        """`78/1200`: a position and the amount."""
        return f"{plain(position)}/{plain(self.amount)}"


class StepBudget(Budget):
    """A number of updates.

    Args:
        steps: how many.
        points: evaluations, at most as many as steps.
        warmup: the share of the steps over which the learning rate rises.
    """

    unit = "step"
    symbol = ""

    def __init__(self, steps: int, points: int, warmup: float) -> None:
        marks = evaluation_steps(steps, points)
        super().__init__(steps, marks, log_interval=max(1, steps // LOG_ROWS))
        self._steps = steps
        self._warmup = warmup * steps

    @property
    def steps(self) -> int:
        """All of them."""
        return self._steps

    def position(self, step: int, seconds: Callable[[], float]) -> float:
        """The step."""
        del seconds
        return step

    def ramp(self, position: float) -> float:
        """Linear; the first update has a rate above 0, the last of the warm-up the full one."""
        return min(1.0, (position + 1) / max(self._warmup, 1.0))


class TimeBudget(Budget):
    """Seconds of training, evaluation not counted.

    Each evaluation has at least one update of its own: where an update takes longer than the part
    between two evaluations, training takes longer than the budget.

    Args:
        seconds: how many.
        points: evaluations.
        warmup: the share of the seconds over which the learning rate rises.
    """

    unit = "second"
    symbol = " s"
    # What a device does once, such as loading its kernels, is nothing to charge to one block.
    rehearsal = 3

    def __init__(self, seconds: float, points: int, warmup: float) -> None:
        marks = [seconds * (point + 1) / points for point in range(points)]
        super().__init__(seconds, marks, log_interval=seconds / LOG_ROWS)
        self._warmup = warmup * seconds

    @property
    def steps(self) -> None:
        """Not known beforehand."""
        return None

    def position(self, step: int, seconds: Callable[[], float]) -> float:
        """The seconds."""
        del step
        return seconds()

    def ramp(self, position: float) -> float:
        """Linear; the first update, at second 0, does no more than fill the optimizer's moments."""
        return 1.0 if position >= self._warmup else position / self._warmup


def create_budget(config: RunConfig, cost: Cost) -> Budget:
    """The budget of one run; one in FLOPs is the number of steps that the model's cost makes of it.

    Raises:
        DitbenchError: when the FLOPs make fewer steps than there are evaluations.
    """
    points, warmup = config.eval.points, config.train.warmup
    if config.budget.seconds is not None:
        return TimeBudget(config.budget.seconds, points, warmup)
    if config.budget.flops is None:
        return StepBudget(config.budget.steps or 0, points, warmup)
    flops_per_step = cost.train_flops_per_image * config.train.batch_size
    steps = max(1, round(config.budget.flops / flops_per_step))
    if points > steps:
        raise DitbenchError(
            f"eval.points ({points}) exceed the steps of {config.block}: "
            f"{config.budget.flops:.3g} FLOPs are {steps} at {flops_per_step:.3g} a step",
            f"train longer (--flops), or evaluate less: --set eval.points={steps}",
        )
    return StepBudget(steps, points, warmup)


def evaluation_steps(steps: int, points: int) -> list[int]:
    """The steps after which to evaluate: evenly spaced, the last at the end."""
    return [round(steps * (point + 1) / points) for point in range(points)]


def plain(number: float) -> str:
    """A number for people: one decimal at most, and none where it says nothing."""
    return f"{round(number, 1):.15g}"
