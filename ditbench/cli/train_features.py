"""`ditbench features train`: make a shipped feature extractor again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ditbench.errors import unknown_name

TRAINABLE = ("digits",)


def train(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which classifier: digits.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where the weights go, as safetensors."
        ),
    ] = Path("digits.safetensors"),
) -> None:
    """Train a classifier from scratch, with the same result each time; tell its test accuracy."""
    if name not in TRAINABLE:
        raise unknown_name("classifier", name, TRAINABLE)

    from ditbench.metrics.train_features import train_digits

    accuracy = train_digits(output, lambda line: typer.echo(line, err=True))
    typer.echo(f"test accuracy {accuracy:.4f}, weights in {output}")
