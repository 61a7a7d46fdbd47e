"""`ditbench flops`: the cost of a model."""

from __future__ import annotations

from typing import Annotated

from ditbench.cli.options.common import Blocks, Table, option
from ditbench.cli.options.parse import parse_blocks
from ditbench.cli.output.meter import load_torch, one_by_one
from ditbench.errors import DitbenchError
from ditbench.models.sizes import parse_input, parse_model
from ditbench.plugins.lookup import block_errors, block_options, check_options, find_block
from ditbench.report.tables.columns import COST_COLUMNS

# The settings that change the counts; the size has an option of its own.
COUNTED = ("model.mlp_ratio", "model.qk_norm", "model.norm", "model.registers")


def flops(
    block: Blocks = "all",
    model: Annotated[str, option("SIZE",
        "S/8 ... XL/2, or 256x8x4/2 (hidden x depth x heads / patch).")] = "XL/2",
    input: Annotated[str, option("HxWxC", "Height x width x channels of the input.")] = "32x32x4",  # noqa: A002
    set_: Annotated[list[str] | None, option("KEY=VALUE",
        "A setting of the model or an option of blocks: model.registers=4, options.NAME=8; "
        "repeatable.", "--set")] = None,
    *, table: Table,
) -> None:  # fmt: skip
    """Count parameters and multiply-accumulates of one forward pass.

    As in the DiT paper: one image, 1000 classes, and a learned variance (twice as many output
    channels as input channels). The paper's Gflops are multiply-accumulates.
    """
    names = parse_blocks(block)
    size = parse_model(model)
    shape = dict(zip(("height", "width", "channels"), parse_input(input), strict=True))
    settings = tuple(set_ or ())
    for setting in settings:
        key = setting.partition("=")[0].strip()
        if key not in COUNTED and not key.startswith("options."):
            raise DitbenchError(
                f"--set {key} does not change the counts",
                f"settings that do: {', '.join(COUNTED)}, options.NAME; --model sets the size",
            )
    load_torch()
    from ditbench.config import load
    from ditbench.models.cost import count

    config = load(settings=settings)
    check_options(names, size, config.options)
    switches = {"mlp_ratio": config.model.mlp_ratio, **config.model.switches}
    rows = []
    with one_by_one("flops", names) as each:
        for name in each:
            options = block_options(name, size, config.options)
            with block_errors(name):
                cost = count(find_block(name), size, **shape, **switches, options=options)
            rows.append({"block": name, **cost.as_dict()})
    table.write(rows, COST_COLUMNS)
