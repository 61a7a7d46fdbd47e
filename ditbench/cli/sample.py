"""`ditbench sample`: a grid of images from a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ditbench.cli.options import DEVICES, option
from ditbench.cli.output import echo
from ditbench.errors import DitbenchError, one_line


def sample(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory with a checkpoint.")],
    classes: Annotated[
        str | None,
        option(
            "cat,dog|0,1",
            "The classes, one column each, by name or by number from 0. Default: the first ten.",
        ),
    ] = None,
    per_class: Annotated[int, option("N", "Images per class.", min=1)] = 8,
    cfg_scale: Annotated[
        float | None,
        option("X", "Guidance scale; 1 is no guidance. Default: as in the run.", min=0),
    ] = None,
    sampling_steps: Annotated[
        int | None, option("N", "Steps of the sampler. Default: as in the run.", min=1)
    ] = None,
    seed: Annotated[
        int | None, option("N", "The seed of the noise. Default: as in the run.", min=0)
    ] = None,
    device: Annotated[str, option("NAME", DEVICES)] = "auto",
    trust: Annotated[
        bool,
        option(
            None,
            "Execute the copy of your own block's file that lies in the run directory. Read it "
            "first if the run is someone else's.",
            "--trust",
        ),
    ] = False,
    output: Annotated[Path, option("FILE", "The PNG file to write.", "--output", "-o")] = Path(
        "samples.png"
    ),
) -> None:
    """Draw images with the averaged weights of a run, one column per class."""
    if output.suffix.lower() != ".png":
        raise DitbenchError(f"cannot write a grid as '{output}'", "end -o with .png")

    from ditbench.runs.sample import sample_grid

    columns = sample_grid(
        run,
        output,
        classes=None if classes is None else [part.strip() for part in classes.split(",")],
        per_class=per_class,
        settings={
            "eval__cfg_scale": cfg_scale,
            "eval__sampling_steps": sampling_steps,
            "seed": seed,
        },
        device_name=device,
        trust=trust,
    )
    echo(one_line(f"columns: {', '.join(columns)}"), err=True)
    echo(output)
