"""`ditbench flops`: what a model costs."""

from __future__ import annotations

from typing import Annotated

import typer

from ditbench.cli.options import Blocks, Format, Output, parse_blocks
from ditbench.cli.output import emit
from ditbench.models.sizes import parse_input, parse_model


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
    format: Format = None,  # noqa: A002
    output: Output = None,
) -> None:
    """Count parameters and multiply-accumulates of one forward pass.

    Counted as in the DiT paper, whose Gflops are multiply-accumulates: one image, 1000 classes,
    and a learned variance (twice as many channels come out as go in).
    """
    from ditbench.report.tables import COST_COLUMNS, format_of

    format_of(output, format)  # a wrong one is refused before the seconds that counting takes
    names = parse_blocks(block)
    size = parse_model(model)
    height, width, channels = parse_input(input)

    from ditbench.models.cost import count

    rows = [
        count(name, size, height=height, width=width, channels=channels).as_dict() for name in names
    ]
    emit(rows, COST_COLUMNS, format, output)
