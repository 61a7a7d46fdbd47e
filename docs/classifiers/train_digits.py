"""Train the digits classifier from scratch, to the same file on the same machine.

    python docs/classifiers/train_digits.py -o digits.safetensors

It uses its own generators only, one thread, and a fixed split: every fifth image of each class, in
the order of the data set, is held out.
"""

from __future__ import annotations

import argparse
import math
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from common import initialised, warm_cosine, write_weights
from torch import Tensor

from ditbench.data.dataset import to_model
from ditbench.data.digits import load_digits
from ditbench.errors import DitbenchError
from ditbench.metrics.features.classifiers import DigitsNet

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 0
EPOCHS = 40
BATCH_SIZE = 64
LR = 3e-3  # the highest, of a cosine after a warm-up over the first tenth
WEIGHT_DECAY = 0.05
# Strong enough to matter on 8x8 pixels, weak enough to leave every digit readable.
MAX_SHIFT = 0.8  # pixels
MAX_ROTATION = 12.0  # degrees
MAX_SCALE = 0.1


def train_digits(output: Path, epochs: int = EPOCHS) -> float:
    """Train the digits classifier and write it, with its accuracy in the file's metadata.

    Args:
        output: the safetensors file to write, atomically.
        epochs: passes over the training images.

    Returns:
        The accuracy, in [0, 1], on the held-out fifth of the data.

    Raises:
        DitbenchError: exit code 1, when `output` cannot be written.
    """
    digits = load_digits()
    held_out = held_out_mask(digits.labels)
    generator = torch.Generator().manual_seed(SEED)
    with _one_thread():
        net = initialised(DigitsNet, generator)
        images, labels = to_model(digits.images), digits.labels
        _train(net, images[~held_out], labels[~held_out], epochs, generator)
        accuracy = _accuracy(net, images[held_out], labels[held_out])
    details = {
        "data": "scikit-learn digits, 1797 images of 8x8 pixels",
        "split": "held out: every fifth image of each class, in the order of the data set",
        "test_accuracy": f"{accuracy:.6f}",
        "test_images": str(int(held_out.sum())),
        "epochs": str(epochs),
        "seed": str(SEED),
        "torch": torch.__version__,
    }
    write_weights(output, net.state_dict(), details)
    return accuracy


def held_out_mask(labels: Tensor) -> Tensor:
    """True for every fifth image of each class: (N,) bool."""
    mask = torch.zeros_like(labels, dtype=torch.bool)
    for label in torch.unique(labels):
        mask[(labels == label).nonzero().flatten()[4::5]] = True
    return mask


def _train(
    net: DigitsNet, images: Tensor, labels: Tensor, epochs: int, generator: torch.Generator
) -> None:
    optimizer = torch.optim.AdamW(net.parameters(), LR, weight_decay=WEIGHT_DECAY)
    batches = math.ceil(len(labels) / BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warm_cosine(step / (epochs * batches))
    )
    for epoch in range(epochs):
        total = 0.0
        for index in torch.randperm(len(labels), generator=generator).chunk(batches):
            # No label smoothing: it contracts each class, and the features would then say less
            # about how well a digit is drawn.
            loss = F.cross_entropy(net(augment(images[index], generator))[1], labels[index])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(index)
        if (epoch + 1) % 10 == 0 or epoch + 1 == epochs:
            print(f"epoch {epoch + 1} of {epochs}, loss {total / len(labels):.4f}", file=sys.stderr)


def augment(x: Tensor, generator: torch.Generator) -> Tensor:
    """Shift, rotate and scale each image a little; pixels from outside are background (-1)."""
    shift_x, shift_y, turn, scale = torch.rand(4, len(x), generator=generator) * 2 - 1  # (N,) each
    angle = turn * math.radians(MAX_ROTATION)
    cos, sin = torch.cos(angle), torch.sin(angle)
    zoom = 1 + scale * MAX_SCALE
    to_grid = MAX_SHIFT / (x.shape[-1] / 2)  # grid coordinates run from -1 to 1
    rows = (zoom * cos, -zoom * sin, shift_x * to_grid, zoom * sin, zoom * cos, shift_y * to_grid)
    theta = torch.stack(rows, dim=1).view(-1, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    # Shifted by 1, because grid_sample fills with zeros.
    return F.grid_sample(x + 1, grid, align_corners=False) - 1


@torch.no_grad()
def _accuracy(net: DigitsNet, images: Tensor, labels: Tensor) -> float:
    logits = net(images)[1]
    return int((logits.argmax(1) == labels).sum()) / len(labels)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run on one thread: the number of threads changes the order of sums, and so the last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def main() -> None:
    """Read the command line, train, and print the accuracy."""
    parser = argparse.ArgumentParser(description="Train the digits classifier from scratch.")
    parser.add_argument("-o", "--output", type=Path, default=Path("digits.safetensors"))
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="fewer for a quick try")
    given = parser.parse_args()
    try:
        accuracy = train_digits(given.output, given.epochs)
    except DitbenchError as error:
        sys.exit(f"error: {error.message}\nhelp: {error.hint}")
    print(f"test accuracy {accuracy:.4f}, weights in {given.output}")


if __name__ == "__main__":
    main()
