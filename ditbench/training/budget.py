"""How long training lasts, and when it logs and evaluates.

A position is how much of the budget is used, in its unit: steps or seconds. Warm-up, log and
evaluations depend on the position alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ditbench.config import RunConfig
from ditbench.errors import DitbenchError
from ditbench.models.cost import Cost

# Rows of train.csv per run. Each row synchronizes with the device once.
LOG_ROWS = 200
# Updates of a discarded model before a time budget starts, so that what a device does once, such
# as loading kernels, does not count as training time.
REHEARSAL = 3


@dataclass(frozen=True)
class Budget:
    """Steps, or seconds of training without evaluation. Training ends with the last evaluation.

    At least one update precedes each evaluation, even if it takes longer than the time for it.
    """

    amount: float  # the whole budget, in its unit
    steps: int | None  # the number of updates, or None if it depends on the clock
    marks: Sequence[float]  # the positions at which to evaluate, ascending; the last is the amount
    log_interval: float  # the distance between two rows of the log
    warmup: float  # the position up to which the learning rate rises

    @property
    def unit(self) -> str:
        """The name of the unit, singular."""
        return "second" if self.steps is None else "step"

    def position(self, step: int, seconds: Callable[[], float]) -> float:
        """The position after so many updates; `seconds` may wait for the device."""
        return seconds() if self.steps is None else step

    def ramp(self, position: float) -> float:
        """The factor of the learning rate, 0 to 1, for the update that begins at a position.

        It is linear. With steps, it is above 0 at the first update and 1 at the last of the
        warm-up. With seconds, the first update only initializes the moments of the optimizer.
        """
        if self.steps is not None:
            return min(1.0, (position + 1) / max(self.warmup, 1.0))
        return 1.0 if position >= self.warmup else position / self.warmup

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
        """A position and the amount: `78/1200`."""
        return f"{plain(position)}/{plain(self.amount)}"


def step_budget(steps: int, points: int, warmup: float, before: tuple[int, int] = (0, 0)) -> Budget:
    """A number of updates; `before` are the steps and evaluations of a run that it continues."""
    done, scored = before
    marks = evaluation_steps(done, scored)
    marks += [done + mark for mark in evaluation_steps(steps - done, points - scored)]
    return Budget(steps, steps, marks, max(1, steps // LOG_ROWS), warmup * steps)


def time_budget(seconds: float, points: int, warmup: float) -> Budget:
    """Seconds of training, with evaluations and a warm-up as a fraction of the budget."""
    marks = [seconds * (point + 1) / points for point in range(points)]
    return Budget(seconds, None, marks, seconds / LOG_ROWS, warmup * seconds)


def create_budget(config: RunConfig, cost: Cost) -> Budget:
    """The budget of a run; a DitbenchError if its FLOPs are fewer steps than evaluations."""
    points, warmup = config.eval.points, config.train.warmup
    if config.budget.seconds is not None:
        return time_budget(config.budget.seconds, points, warmup)
    if config.budget.flops is None:
        before = (config.parent.steps or 0, config.parent.points or 0)
        return step_budget(config.budget.steps or 0, points, warmup, before)
    flops_per_step = cost.train_flops_per_image * config.train.batch_size
    steps = max(1, round(config.budget.flops / flops_per_step))
    if points > steps:
        raise DitbenchError(
            f"eval.points ({points}) exceed the steps of {config.block}: "
            f"{config.budget.flops:.3g} FLOPs are {steps} at {flops_per_step:.3g} per step",
            f"train longer (--flops), or evaluate less often: --set eval.points={steps}",
        )
    return step_budget(steps, points, warmup)


def evaluation_steps(steps: int, points: int) -> list[int]:
    """The steps after which to evaluate, evenly spaced; the last is the end."""
    return [round(steps * (point + 1) / points) for point in range(points)]


def plain(number: float) -> str:
    """A number with at most one decimal: `42`, `0.2`."""
    return f"{round(number, 1):.15g}"
