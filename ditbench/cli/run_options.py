"""The options that `run`, `tune` and `bench` share, and the configuration that they make.

Like everything that a help page needs, this imports no torch.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
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
class Model:
    """What is trained, and on what; None where an option is not given."""

    set_: Annotated[
        list[str] | None,
        what("--set", metavar="KEY=VALUE", help="Any setting: eval.cfg_scale=4; repeatable."),
    ] = None
    model: Annotated[
        str | None, what(metavar="SIZE", help="S/4, or 256x8x4/2 (hidden x depth x heads / patch).")
    ] = None
    objective: Annotated[str | None, what(metavar="NAME", help="ddpm or flow.")] = None
    batch_size: Annotated[int | None, what(metavar="N", help="Images per step.")] = None
    device: Annotated[str, how(metavar="NAME", help=DEVICES)] = "auto"
    precision: Annotated[str | None, how(metavar="NAME", help="auto, fp32 or bf16.")] = None
    backend: Annotated[
        str | None,
        how(
            metavar="NAME",
            help="What computes a step: auto, plain, compile (torch.compile) or kernels (GPU, "
            "bf16).",
        ),
    ] = None
    compile: Annotated[
        str | None,
        how(
            metavar="NAME",
            help="The old spelling of --backend: on is compile; off is plain on a CPU and kernels on "
            "a GPU; auto.",
        ),
    ] = None

    def overrides(self) -> dict[str, Any]:
        """The keys of the configuration that the options set; None where not given.

        Raises:
            DitbenchError: an option is wrong.
        """
        size = {} if self.model is None else vars(parse_model(self.model))
        return {
            **{f"model.{name}": value for name, value in size.items()},
            "objective.name": self.objective,
            "train.batch_size": self.batch_size,
            "train.precision": self.precision,
            "train.backend": self._backend(),
        }

    def _backend(self) -> str | None:
        if self.compile is None:
            return self.backend
        if self.backend is not None:
            raise DitbenchError("--backend and --compile are given together", "omit --compile")
        if self.compile not in COMPILE:
            raise unknown_name("choice for --compile", self.compile, COMPILE)
        return "compile" if self.compile == "on" else None

    def place(self, config: RunConfig) -> tuple[RunConfig, torch.device]:
        """The device, and the configuration with the backend of `--compile off` on that device."""
        from ditbench.runs.environment import resolve_precision, select_device

        device = select_device(self.device)
        if self.compile == "off":
            bf16 = resolve_precision(config.train.precision, device) == "bf16"
            fused = device.type == "cuda" and bf16
            config = config.with_values(train__backend="kernels" if fused else "plain")
        return config, device


@dataclass(frozen=True, kw_only=True)
class Training(Model):
    """A whole training run; None where an option is not given."""

    preset: Annotated[str, what(metavar="NAME", help="The settings to start from.")] = "digits"
    config: Annotated[
        Path | None,
        what(metavar="FILE", help="TOML that overrides the preset, such as a run's config.toml."),
    ] = None
    data: Annotated[
        Path | None,
        what(
            metavar="PATH",
            help="A folder or zip of class folders of images, or an .npz of images.",
        ),
    ] = None
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

    def overrides(self) -> dict[str, Any]:
        """The keys of the configuration that the options set; see `Model.overrides`."""
        overrides = super().overrides() | parse_budget(self.steps, self.flops, self.time)
        if self.data is not None:
            from ditbench.data import loader_of

            overrides |= {"data.name": loader_of(self.data), "data.path": str(self.data)}
        return overrides

    def configure(self, lr: float | None = None) -> RunConfig:
        """The configuration that the options make of a preset and a file.

        Raises:
            DitbenchError: an option, a file or a key is wrong.
        """
        overrides = self.overrides() | {"train.lr": lr}
        return load_config(overrides, tuple(self.set_ or ()), self.preset, self.config)


def load_config(
    overrides: dict[str, Any],
    settings: tuple[str, ...],
    preset: str = "digits",
    file: Path | None = None,
) -> RunConfig:
    """The configuration of a preset, a file, settings and overrides, of which None is dropped."""
    from ditbench.config import load

    given = {key: value for key, value in overrides.items() if value is not None}
    return load(preset, file, settings, given)


def takes(options: type[Model]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command take the fields of a class as options, in place of its parameter `options`."""
    hints = get_type_hints(options, include_extras=True)
    names = sorted(hints, key=lambda name: name in Model.__annotations__)  # the preset first
    shared = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=getattr(options, name),
            annotation=hints[name],
        )
        for name in names
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters: list[inspect.Parameter] = []
        for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
            own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
            parameters += shared if name == "options" else own

        def with_options(**given: Any) -> None:
            command(options=options(**{name: given.pop(name) for name in names}), **given)

        with_options.__doc__ = command.__doc__
        with_options.__annotations__ = {each.name: each.annotation for each in parameters}
        vars(with_options)["__signature__"] = inspect.Signature(parameters)  # what typer reads
        return with_options

    return decorate


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
