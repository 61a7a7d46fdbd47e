"""The options that say what is trained and how, for `run` and `tune`; the configuration they make.

Torch-free to import, as all that a help page needs.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ditbench.cli.amounts import parse_budget
from ditbench.cli.options import COMPILE, DEVICES
from ditbench.errors import DitbenchError
from ditbench.models.sizes import parse_model

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ditbench.config.schema import RunConfig, Table

# The groups of the help page.
what = partial(typer.Option, rich_help_panel="What is trained")
how = partial(typer.Option, rich_help_panel="How long, and on what")
told = partial(typer.Option, rich_help_panel="What is told and written")

Preset = Annotated[str, what(metavar="NAME", help="The settings that the others replace parts of.")]
Config = Annotated[
    Path | None,
    what(metavar="FILE", help="TOML laid over the preset, such as a run's config.toml."),
]
Settings = Annotated[
    list[str] | None,
    what("--set", metavar="KEY=VALUE", help="Any setting: eval.cfg_scale=4; repeatable."),
]
Model = Annotated[
    str | None, what(metavar="SIZE", help="S/4, or 256x8x4/2 (hidden x depth x heads / patch).")
]
ObjectiveName = Annotated[str | None, what(metavar="NAME", help="ddpm or flow.")]
Data = Annotated[
    Path | None,
    what(metavar="PATH", help="A folder or zip of class folders of images, or an .npz of them."),
]
BatchSize = Annotated[int | None, what(metavar="N", help="Images a step.")]
Steps = Annotated[str | None, how(metavar="N", help="The budget in updates: 20000 or 20k.")]
Flops = Annotated[
    str | None,
    how(
        metavar="N",
        help="The budget in training compute, 3 x 2 x forward MACs x images: 50PF or 5e16. "
        "A cheaper block makes more updates.",
    ),
]
Time = Annotated[
    str | None,
    how(
        metavar="TIME",
        help="The budget in training time, evaluation not counted: 10m, 1h30m or 600 (s).",
    ),
]
Device = Annotated[str, how(metavar="NAME", help=DEVICES)]
Precision = Annotated[str | None, how(metavar="NAME", help="auto, fp32 or bf16.")]
Compile = Annotated[
    str,
    how(
        metavar="NAME",
        help=f"{COMPILE}; auto: on a CPU, where training outlasts compiling by far.",
    ),
]
DryRun = Annotated[
    bool,
    told(
        "--dry-run",
        help="Tell what would be run and, after seconds of calibration, how long it would "
        "take; write nothing.",
    ),
]
Quiet = Annotated[bool, told("--quiet", help="Show no progress.")]


def configure(
    *,
    preset: str,
    config: Path | None,
    settings: Iterable[str] | None,
    model: str | None,
    objective: str | None,
    data: Path | None,
    batch_size: int | None,
    steps: str | None,
    flops: str | None,
    time: str | None,
    precision: str | None,
    **others: Any,
) -> RunConfig:
    """The configuration that options make of a preset and a file.

    Options are as given on the command line, None where not; `others` are further keys of the
    configuration, with `__` for the dot.

    Raises:
        DitbenchError: an option, a file or a key that is wrong.
    """
    overrides = size_and_data(model, data) | parse_budget(steps, flops, time)
    overrides |= {
        "objective.name": objective,
        "train.batch_size": batch_size,
        "train.precision": precision,
        **{key.replace("__", "."): value for key, value in others.items()},
    }
    given = {key: value for key, value in overrides.items() if value is not None}

    from ditbench.config import load

    return load(preset, config, tuple(settings or ()), given)


def size_and_data(model: str | None, data: Path | None) -> Table:
    """The options that stand for other keys than one of their own."""
    overrides: dict[str, Any] = {}
    if model is not None:
        size = parse_model(model)
        overrides |= {f"model.{name}": value for name, value in vars(size).items()}
    if data is not None:
        from ditbench.data import loader_of

        overrides |= {"data.name": loader_of(data), "data.path": str(data)}
    return overrides


def parse_rate(text: str) -> float:
    """`5e-4` as a learning rate.

    Raises:
        DitbenchError: for what is no finite number; whether it is above 0 the configuration says.
    """
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not math.isfinite(rate):
        raise DitbenchError(f"--lr '{text}' is not a learning rate", "write --lr 5e-4")
    return rate


def parse_rates(text: str) -> list[float]:
    """`1e-4,5e-4` as learning rates above 0, each once, rising.

    Raises:
        DitbenchError: for anything else.
    """
    rates = {parse_rate(part) for part in text.split(",")}
    if min(rates) <= 0:
        raise DitbenchError(f"--lr '{text}' is not above 0", "write --lr 1e-4,5e-4,1e-3")
    return sorted(rates)
