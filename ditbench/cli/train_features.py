"""`ditbench features train`: make a shipped feature extractor again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ditbench.cli.options import DEVICES
from ditbench.errors import DitbenchError, unknown_name

if TYPE_CHECKING:
    from ditbench.data.dataset import ImageDataset

TRAINABLE = ("digits", "cifar10")


def train(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Which classifier: digits or cifar10.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where the weights go, as safetensors. Default: NAME.safetensors",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Of cifar10: training images: folder or zip of class folders, or .npz. "
            "Default: CIFAR-10 by torchvision.",
        ),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Of cifar10: the images that it is tested on, likewise."),
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help=f"Of cifar10. {DEVICES}")] = "auto",
    epochs: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Passes over the images, for a quick try."),
    ] = None,
) -> None:
    """Train a classifier from scratch, as the shipped one was; tell its test accuracy."""
    if name not in TRAINABLE:
        raise unknown_name("classifier", name, TRAINABLE)
    place = Path(f"{name}.safetensors") if output is None else output
    if name == "digits":
        accuracy = _digits(place, data, test, epochs)
    else:
        accuracy = _cifar10(place, data, test, device, epochs)
    typer.echo(f"test accuracy {accuracy:.4f}, weights in {place}")


def _digits(output: Path, data: Path | None, test: Path | None, epochs: int | None) -> float:
    if data is not None or test is not None:
        raise DitbenchError(
            "the images of digits are built in",
            "leave out --data and --test, or train cifar10",
        )

    from ditbench.metrics.train_features import EPOCHS, train_digits

    return train_digits(output, _say, EPOCHS if epochs is None else epochs)


def _cifar10(
    output: Path, data: Path | None, test: Path | None, device: str, epochs: int | None
) -> float:
    if test is None:
        raise DitbenchError(
            "cifar10 features need images to be tested on",
            "name a folder or zip of class folders: --test cifar10-test.zip",
        )

    from ditbench.metrics.train_cifar10 import train_cifar10
    from ditbench.runs.environment import select_device

    chosen = select_device(device)
    return train_cifar10(output, _images(data), _images(test), chosen, _say, epochs)


def _images(path: Path | None) -> ImageDataset:
    from ditbench.data import load_dataset, loader_of

    return load_dataset("cifar10") if path is None else load_dataset(loader_of(path), path)


def _say(line: str) -> None:
    typer.echo(line, err=True)
