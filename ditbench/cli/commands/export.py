"""`ditbench export`: the averaged weights of a run as a file for other code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ditbench.cli.options.common import argument, option
from ditbench.cli.options.completion import complete_runs
from ditbench.cli.output.meter import load_torch
from ditbench.cli.output.printing import echo, echo_path
from ditbench.errors import unknown_name
from ditbench.rundir import RunDirectory

LAYOUTS = ("released", "diffusers")


def export(
    run: Annotated[Path, argument("RUN", "A run directory with a checkpoint.", complete_runs)],
    output: Annotated[Path, option("FILE",
        "The file: .pt or .safetensors.", "--output", "-o", show_default=False)],
    layout: Annotated[str, option("NAME",
        "The names of weights: released (those of the paper's code), or diffusers (those of its "
        "DiTTransformer2DModel).")] = LAYOUTS[0],
) -> None:  # fmt: skip
    """Write the averaged weights of a run as other code loads them.

    `ditbench run`, `sample` and `eval` take the file by --init, too.
    """
    if layout not in LAYOUTS:
        raise unknown_name("layout", layout, LAYOUTS)
    RunDirectory(run).check_config()

    load_torch()
    from ditbench.runs.export import export_weights

    echo(export_weights(run, output, diffusers=layout == "diffusers"), err=True)
    echo_path(output)
