"""How long a run takes: training and evaluation, from the speed of one device."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

from ditbench.config.sections import EvalConfig
from ditbench.models.cost import TRAINING_PASSES
from ditbench.runs.planning.plan import Plan
from ditbench.runs.scoring.sampling import passes_per_image


class Speed(NamedTuple):
    """The speed of one model on one device, in seconds."""

    per_step: float  # of training
    per_pass: float  # of one image through the model in sampling
    per_score: float  # of one image through the extractor

    @classmethod
    def from_training(cls, run: Plan, per_step: float, per_score: float) -> Speed:
        """Before samples were drawn: a forward pass is a third of the arithmetic of a step."""
        return cls(per_step, per_step / (TRAINING_PASSES * run.config.train.batch_size), per_score)

    def times(self, ratio: float) -> Speed:
        """The speed of a model with `ratio` times the arithmetic, on the same device."""
        return Speed(ratio * self.per_step, ratio * self.per_pass, self.per_score)

    def of_evaluation(self, run: Plan) -> float:
        """Seconds of one evaluation: sampling and features; the metrics themselves are not in."""
        return self._of_draw(run.config.eval)

    def of_final(self, run: Plan) -> float:
        """Seconds of the draws that the final score adds."""
        config = run.config.eval
        final = config.model_copy(update={"sampling_steps": config.steps_of_final})
        return config.extra_draws * self._of_draw(final)

    def _of_draw(self, config: EvalConfig) -> float:
        return config.samples * (image_passes(config) * self.per_pass + self.per_score)


def image_passes(config: EvalConfig) -> int:
    """How many images pass through the model for one sample; guidance doubles each batch."""
    return passes_per_image(config) * (1 if config.cfg_scale == 1 else 2)


class Remaining:
    """The seconds that are left of one run; `None` before the first of them can be known."""

    def __init__(self, run: Plan, step: int, seconds: float, per_score: float = 0.0) -> None:
        self._run, self._per_score = run, per_score
        position = run.budget.position(step, lambda: seconds)
        # What is sampled and scored, in evaluations: a draw of the final score may take longer.
        guess = Speed.from_training(run, 1.0, per_score)
        draws = max(1, run.config.eval.extra_draws)
        self._draw = guess.of_final(run) / draws / guess.of_evaluation(run)
        marks = [mark for mark in run.budget.marks if mark > position]
        self._scores = [1.0] * len(marks) + [self._draw] * run.config.eval.extra_draws
        self._evaluation: float | None = None  # seconds
        self._since: float | None = None  # when the one that is being made began
        self._step, self._seconds = step, seconds

    def trained(self, step: int, seconds: float) -> None:
        """So many steps and seconds of training are over."""
        self._step, self._seconds = step, seconds

    def evaluating(self) -> None:
        """An evaluation has begun, or is being made."""
        self._since = time.monotonic() if self._since is None else self._since

    def evaluated(self, seconds: float) -> None:
        """An evaluation took so many seconds."""
        size = self._scores.pop(0) if self._scores else 1.0
        self._evaluation, self._since = seconds / size, None

    def finishing(self, draws: int) -> None:
        """Only the final score is left: so many draws."""
        self._scores = [self._draw] * draws

    def read(self) -> float | None:
        """Seconds of training and of all evaluations to come."""
        budget = self._run.budget
        position = budget.position(self._step, lambda: self._seconds)
        if not self._step or not position:
            return None
        training = self._seconds * max(0.0, budget.amount / position - 1)
        each = self._evaluation
        if each is None:
            guess = Speed.from_training(self._run, self._seconds / self._step, self._per_score)
            each = guess.of_evaluation(self._run)
        elapsed = 0.0 if self._since is None else time.monotonic() - self._since
        return training + each * sum(self._scores) - min(elapsed, each * sum(self._scores[:1]))


def clock(seconds: float | None) -> str:
    """`3:05`, or `2:03:05`; `-:--` if unknown."""
    if seconds is None:
        return "-:--"
    minutes, second = divmod(math.ceil(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
