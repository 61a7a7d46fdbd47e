"""`ditbench flops`: what a model costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ditbench.cli.options import Blocks, Format, Output, parse_blocks
from ditbench.cli.output import emit
from ditbench.errors import DitbenchError
from ditbench.models.sizes import parse_input, parse_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ditbench.models.sizes import ModelSize

# Settings that say what model it is; the size has an option of its own.
COUNTED = ("model.mlp_ratio", "model.qk_norm", "model.norm", "model.registers")


def flops(
    block: Blocks = "all",
    model: Annotated[
        str,
        typer.Option(
            metavar="SIZE", help="S/8 ... XL/2, or 256x8x4/2 (hidden x depth x heads / patch)."
        ),
    ] = "XL/2",
    input: Annotated[  # noqa: A002 (the option's name)
        str,
        typer.Option(metavar="HxWxC", help="Height x width x channels of what is denoised."),
    ] = "32x32x4",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A setting of the model, or of strategies: model.registers=4, options.NAME=8; "
            "repeatable.",
        ),
    ] = None,
    format: Format = None,  # noqa: A002
    output: Output = None,
) -> None:
    """Count parameters and multiply-accumulates of one forward pass.

    Counted as in the DiT paper, whose Gflops are multiply-accumulates: one image, 1000 classes,
    and a learned variance (twice as many channels come out as go in).
    """
    from ditbench.report.tables.columns import COST_COLUMNS
    from ditbench.report.tables.render import format_of

    format_of(output, format)  # a wrong one is refused before the seconds that counting takes
    names = parse_blocks(block)
    size = parse_model(model)
    height, width, channels = parse_input(input)
    variants = _variants(names, size, set_) if set_ else {name: {} for name in names}

    from ditbench.models.cost import count

    rows = [
        count(name, size, height=height, width=width, channels=channels, **variant).as_dict()
        for name, variant in variants.items()
    ]
    emit(rows, COST_COLUMNS, format, output)


def _variants(
    names: Sequence[str], size: ModelSize, settings: Sequence[str]
) -> Mapping[str, dict[str, Any]]:
    """What settings make of each strategy's model: further arguments of `count`.

    Raises:
        DitbenchError: a setting that no count depends on, or that cannot be.
    """
    from ditbench.config import load
    from ditbench.models.blocks.options import check_options, own_options

    for setting in settings:
        key = setting.partition("=")[0].strip()
        if key not in COUNTED and not key.startswith("options."):
            raise DitbenchError(
                f"--set {key} is nothing that is counted",
                f"these are: {', '.join(COUNTED)}, options.NAME; the size is --model's",
            )
    config = load(settings=tuple(settings))
    check_options(names, size, config.options)
    model = {"mlp_ratio": config.model.mlp_ratio, "switches": config.model.switches}
    return {
        name: model | {"options": tuple(own_options(name, size, config.options).items())}
        for name in names
    }
