"""The options that `run` and `tune` share, and the configuration that they make.

Like everything that a help page needs, this imports no torch.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from ditbench.cli.amounts import parse_budget
from ditbench.cli.options import DEVICES
from ditbench.errors import DitbenchError, unknown_name
from ditbench.models.sizes import parse_model

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from ditbench.config import RunConfig

# The groups of the help page.
what = partial(typer.Option, rich_help_panel="What is trained")
how = partial(typer.Option, rich_help_panel="How long, and on what")
output = partial(typer.Option, rich_help_panel="What is printed and written")

BACKEND_HELP = "What computes a step: auto, plain, compile (torch.compile) or kernels (GPU, bf16)."
COMPILE_HELP = "The old spelling of --backend: on is compile, off never compiles; auto."
COMPILE = ("auto", "on", "off")

DryRun = Annotated[
    bool,
    output(
        "--dry-run",
        help="Print what would be run and, after seconds of calibration, how long it would take. "
        "Nothing is written.",
    ),
]
Quiet = Annotated[bool, output("--quiet", help="Show no progress.")]


@dataclass(frozen=True, kw_only=True)
class Training:
    """Options that say what is trained, for how long, and on what; None where not given."""

    preset: Annotated[str, what(metavar="NAME", help="The settings to start from.")] = "digits"
    config: Annotated[
        Path | None,
        what(metavar="FILE", help="TOML that overrides the preset, such as a run's config.toml."),
    ] = None
    set_: Annotated[
        list[str] | None,
        what("--set", metavar="KEY=VALUE", help="Any setting: eval.cfg_scale=4; repeatable."),
    ] = None
    model: Annotated[
        str | None, what(metavar="SIZE", help="S/4, or 256x8x4/2 (hidden x depth x heads / patch).")
    ] = None
    objective: Annotated[str | None, what(metavar="NAME", help="ddpm or flow.")] = None
    data: Annotated[
        Path | None,
        what(
            metavar="PATH",
            help="A folder or zip of class folders of images, or an .npz of images.",
        ),
    ] = None
    batch_size: Annotated[int | None, what(metavar="N", help="Images per step.")] = None
    steps: Annotated[str | None, how(metavar="N", help="The budget in updates: 20000 or 20k.")] = (
        None
    )
    flops: Annotated[
        str | None,
        how(
            metavar="N",
            help="The budget in training compute, 3 x 2 x forward MACs x images: 50PF or 5e16. "
            "A cheaper block makes more updates.",
        ),
    ] = None
    time: Annotated[
        str | None,
        how(
            metavar="TIME",
            help="The budget in training time, without evaluation: 10m, 1h30m or 600 (s).",
        ),
    ] = None
    device: Annotated[str, how(metavar="NAME", help=DEVICES)] = "auto"
    precision: Annotated[str | None, how(metavar="NAME", help="auto, fp32 or bf16.")] = None
    backend: Annotated[str | None, how(metavar="NAME", help=BACKEND_HELP)] = None
    compile: Annotated[str | None, how(metavar="NAME", help=COMPILE_HELP)] = None

    def configure(self, **others: Any) -> RunConfig:
        """The configuration that the options make of a preset and a file.

        Args:
            **others: further keys of the configuration, with `__` for the dot; None is not given.

        Raises:
            DitbenchError: an option, a file or a key is wrong.
        """
        overrides: dict[str, Any] = {
            **size_overrides(self.model),
            **parse_budget(self.steps, self.flops, self.time),
            "objective.name": self.objective,
            "train.batch_size": self.batch_size,
            "train.precision": self.precision,
            "train.backend": parse_backend(self.backend, self.compile),
            **{key.replace("__", "."): value for key, value in others.items()},
        }
        if self.data is not None:
            from ditbench.data import loader_of

            overrides |= {"data.name": loader_of(self.data), "data.path": str(self.data)}
        given = {key: value for key, value in overrides.items() if value is not None}

        from ditbench.config import load

        return load(self.preset, self.config, tuple(self.set_ or ()), given)

    def place(self, config: RunConfig) -> tuple[RunConfig, torch.device]:
        """The device, and the configuration with the backend of `--compile off` on it."""
        return place(config, self.device, self.compile)


def takes_training(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter `training` of a command by the options of `Training`."""
    hints = get_type_hints(Training, include_extras=True)
    shared = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in fields(Training)
    ]
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
        parameters += shared if name == "training" else own

    def with_options(**given: Any) -> None:
        training = Training(**{option.name: given.pop(option.name) for option in shared})
        command(training=training, **given)

    with_options.__doc__ = command.__doc__
    with_options.__annotations__ = {each.name: each.annotation for each in parameters}
    vars(with_options)["__signature__"] = inspect.Signature(parameters)  # what typer reads
    return with_options


def size_overrides(model: str | None) -> dict[str, Any]:
    """The keys of the configuration that `--model` stands for."""
    if model is None:
        return {}
    return {f"model.{name}": value for name, value in vars(parse_model(model)).items()}


def parse_backend(backend: str | None, compile: str | None) -> str | None:  # noqa: A002
    """The backend that `--backend`, or `--compile` in its place, asks for; None where neither does.

    Raises:
        DitbenchError: both are given, or `--compile` is unknown.
    """
    if compile is None:
        return backend
    if backend is not None:
        raise DitbenchError("--backend and --compile are given together", "omit --compile")
    if compile not in COMPILE:
        raise unknown_name("choice for --compile", compile, COMPILE)
    return "compile" if compile == "on" else None


def place(
    config: RunConfig,
    device: str,
    compile: str | None,  # noqa: A002
) -> tuple[RunConfig, torch.device]:
    """The device of a name; `--compile off` is kernels on a GPU in bf16 and plain elsewhere."""
    from ditbench.runs.environment import resolve_precision, select_device

    chosen = select_device(device)
    if compile == "off":
        bf16 = resolve_precision(config.train.precision, chosen) == "bf16"
        fused = chosen.type == "cuda" and bf16
        config = config.with_values(train__backend="kernels" if fused else "plain")
    return config, chosen


def parse_rate(text: str) -> float:
    """`5e-4` as a learning rate.

    Raises:
        DitbenchError: not a finite number. That it is above 0 is checked by the configuration.
    """
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not math.isfinite(rate):
        raise DitbenchError(f"--lr '{text}' is not a learning rate", "write --lr 5e-4")
    return rate


def parse_rates(text: str) -> list[float]:
    """`1e-4,5e-4` as learning rates above 0, without duplicates, ascending.

    Raises:
        DitbenchError: for anything else.
    """
    rates = {parse_rate(part) for part in text.split(",")}
    if min(rates) <= 0:
        raise DitbenchError(f"--lr '{text}' is not above 0", "write --lr 1e-4,5e-4,1e-3")
    return sorted(rates)
