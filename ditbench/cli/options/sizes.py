"""What `ditbench bench` measures: lists of models, batch sizes, inputs and backends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from ditbench.cli.options.parse import parse_count
from ditbench.cli.options.training import Model
from ditbench.errors import DitbenchError
from ditbench.models.sizes import parse_input

if TYPE_CHECKING:
    from ditbench.bench.synthetic import Shape
    from ditbench.config import RunConfig

# Weaker than --set. The paper's objective and learning rate, and no warm-up: in it, timed steps
# would have a learning rate of almost 0.
DEFAULTS = ("objective.name=ddpm", "train.lr=1e-4", "train.warmup=0.0")
# The settings that change what is measured: sections and single keys.
MEASURED = (
    "model.", "objective.", "train.", "options.", "data.horizontal_flip", "eval.batch_size",
    "eval.cfg_channels", "eval.cfg_scale", "eval.clip", "eval.sampler", "eval.sampling_steps",
    "eval.spacing", "eval.variance",
)  # fmt: skip
BATCH_SIZE = 128
MOST_SAMPLED = 1_000_000  # the limit of eval.batch_size


@dataclass(frozen=True)
class Size:
    """One model with one batch size on one input: its configurations, one for each backend."""

    shape: Shape
    configs: tuple[RunConfig, ...]


def parse_sizes(
    options: Model, inputs: str, classes: int, sampling_steps: int | None
) -> list[Size]:
    """Every model with every batch size on every input, each with every backend.

    A model may name its only batch size: `S/2,XL/2:128`.
    """
    shapes: list[Shape] = [(*parse_input(text), classes) for text in _parts(inputs)]
    backends = [*_values(options.backend)]
    sizes = []
    for shape, (model, batch_size) in product(shapes, dict.fromkeys(_models(options))):
        of_size = replace(options, model=model, batch_size=batch_size)
        configs = (_configure(replace(of_size, backend=each), sampling_steps) for each in backends)
        sizes.append(Size(shape, tuple(configs)))
    return sizes


def _models(options: Model) -> Iterator[tuple[str | None, str | None]]:
    """The values of --model and --batch-size for each combination; None where not given."""
    for text in _values(options.model):
        model, colon, own = (text or "").partition(":")
        for batch_size in [own] if colon else _values(options.batch_size):
            yield None if text is None else model, batch_size


def _configure(options: Model, sampling_steps: int | None) -> RunConfig:
    from ditbench.config.load import load

    for setting in options.set_ or ():
        key = setting.partition("=")[0].strip()
        if "." in key and not key.startswith(MEASURED):
            raise DitbenchError(
                f"--set {key} does not change what is measured",
                f"settings that do: {', '.join(MEASURED)}".replace(".,", ".*,"),
            )
    batch_size = options.batch_size
    size = BATCH_SIZE if batch_size is None else parse_count(batch_size, "--batch-size")
    defaults = (f"train.batch_size={BATCH_SIZE}", f"eval.batch_size={min(size, MOST_SAMPLED)}")
    overrides = options.overrides() | {
        "eval.sampling_steps": sampling_steps,
        "budget.steps": 10**6,  # never reached, and needs no clock
    }
    return load(
        settings=(*DEFAULTS, *defaults, *(options.set_ or ())),
        overrides={key: value for key, value in overrides.items() if value is not None},
    )


def _values(text: str | None) -> list[str | None]:
    """The values of an option that takes a list; None alone if it is not given."""
    return [None] if text is None else [*_parts(text)]


def _parts(text: str) -> list[str]:
    """What is joined by commas, each once."""
    return list(dict.fromkeys(map(str.strip, text.split(","))))
