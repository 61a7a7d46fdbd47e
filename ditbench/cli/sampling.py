"""Options that `eval` and `sample` share: how a run's model is sampled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ditbench.cli.options import DEVICES, option

Sampler = Annotated[
    str | None,
    option("NAME", "euler or heun for flow, ddpm or ddim for ddpm. Default: as in the run."),
]
SamplingSteps = Annotated[
    int | None, option("N", "Steps of the sampler. Default: as in the final score.", min=1)
]
Vae = Annotated[
    Path | None,
    option("PATH", "The autoencoder that decodes latents. Default: as in the run."),
]
Device = Annotated[str, option("NAME", DEVICES)]
Trust = Annotated[
    bool,
    option(
        None,
        "Execute the copy of your own block's file that lies in a run directory. Read it first if "
        "the run is someone else's.",
        "--trust",
    ),
]
