"""How long training lasts, and when it logs and evaluates.

Everything is measured in the unit of the budget. A position is the number of steps, or seconds,
used so far. Warm-up, log and evaluations depend on the position and so scale with the budget.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from ditbench.errors import DitbenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ditbench.config import RunConfig
    from ditbench.models.cost import Cost

# Rows of train.csv per run. Each row synchronizes with the device once.
LOG_ROWS = 200


class Budget(ABC):
    """An amount of training. Training ends with the last evaluation.

    Args:
        amount: the whole budget, in its unit.
        steps: the number of updates, or None if it depends on the clock.
        marks: the positions at which to evaluate, ascending; the last is the amount.
        log_interval: the distance between two rows of the log, in the unit of the budget.
        warmup: the fraction of the budget during which the learning rate rises.

    Attributes:
        unit: the name of the unit, singular.
        symbol: printed after a number in this unit.
        rehearsal: updates with a discarded model before training starts.
    """

    unit: ClassVar[str]
    symbol: ClassVar[str]
    rehearsal: ClassVar[int] = 0

    def __init__(
        self,
        amount: float,
        steps: int | None,
        marks: Sequence[float],
        log_interval: float,
        warmup: float,
    ) -> None:
        self.amount = amount
        self.steps = steps
        self.marks = marks
        self.log_interval = log_interval
        self.warmup = warmup * amount

    @abstractmethod
    def position(self, step: int, seconds: Callable[[], float]) -> float:
        """How much is used after so many updates and seconds, in the unit of the budget.

        `seconds` is called only if it matters: reading the clock may synchronize with the device.
        """

    @abstractmethod
    def ramp(self, position: float) -> float:
        """The factor of the learning rate, 0 to 1, for the update that begins at a position."""

    def logs(self, before: float, after: float) -> bool:
        """Whether the update between two positions is followed by a row of the log."""
        return after // self.log_interval > before // self.log_interval

    def evaluates(self, position: float, evaluations: int) -> bool:
        """Whether an evaluation is due at a position, after so many evaluations."""
        return position >= self.marks[evaluations]

    def ends(self, evaluations: int) -> bool:
        """Whether training ends after so many evaluations."""
        return evaluations >= len(self.marks)

    def place(self, position: float) -> str:
        """`78/1200`: a position and the amount."""
        return f"{plain(position)}/{plain(self.amount)}"


class StepBudget(Budget):
    """A number of updates, with at most as many evaluations."""

    unit = "step"
    symbol = ""

    def __init__(self, steps: int, points: int, warmup: float) -> None:
        marks = evaluation_steps(steps, points)
        super().__init__(steps, steps, marks, max(1, steps // LOG_ROWS), warmup)

    def position(self, step: int, seconds: Callable[[], float]) -> float:
        """The step."""
        del seconds
        return step

    def ramp(self, position: float) -> float:
        """Linear. The first update has a rate above 0, the last of the warm-up the full rate."""
        return min(1.0, (position + 1) / max(self.warmup, 1.0))


class TimeBudget(Budget):
    """Seconds of training, evaluation not counted.

    At least one update precedes each evaluation. If an update takes longer than the time between
    two evaluations, training takes longer than the budget.
    """

    unit = "second"
    symbol = " s"
    # What a device does once, such as loading kernels, must not count as training time.
    rehearsal = 3

    def __init__(self, seconds: float, points: int, warmup: float) -> None:
        marks = [seconds * (point + 1) / points for point in range(points)]
        super().__init__(seconds, None, marks, seconds / LOG_ROWS, warmup)

    def position(self, step: int, seconds: Callable[[], float]) -> float:
        """The seconds."""
        del step
        return seconds()

    def ramp(self, position: float) -> float:
        """Linear. The first update, at second 0, only initializes the moments of the optimizer."""
        return 1.0 if position >= self.warmup else position / self.warmup


def create_budget(config: RunConfig, cost: Cost) -> Budget:
    """The budget of a run. FLOPs are converted to steps with the cost of the model.

    Raises:
        DitbenchError: the FLOPs are fewer steps than there are evaluations.
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
            f"{config.budget.flops:.3g} FLOPs are {steps} at {flops_per_step:.3g} per step",
            f"train longer (--flops), or evaluate less often: --set eval.points={steps}",
        )
    return StepBudget(steps, points, warmup)


def evaluation_steps(steps: int, points: int) -> list[int]:
    """The steps after which to evaluate, evenly spaced; the last is the end."""
    return [round(steps * (point + 1) / points) for point in range(points)]


def plain(number: float) -> str:
    """A number with at most one decimal: `42`, `0.2`."""
    return f"{round(number, 1):.15g}"
