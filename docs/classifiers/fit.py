"""Train a residual network on small images: the recipe and the loop."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from augment import Augmentation, augment, cut_mix
from common import warm_cosine
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

REPORTS = 10  # lines of progress per training


@dataclass(frozen=True)
class Recipe:
    """How one network is trained: SGD with Nesterov momentum, warm-up and cosine.

    Attributes:
        epochs: passes over the images.
        batch_size: images per update; the rest of an epoch is dropped.
        lr: the highest learning rate.
        weight_decay: only of the weights of convolutions and linear layers.
        augmentation: of every image in every epoch.
        mixed: share of images that get a box of another image (CutMix).
        mixed_until: share of the training after which images stay whole.
    """

    epochs: int
    batch_size: int = 512
    lr: float = 0.4
    weight_decay: float = 5e-4
    augmentation: Augmentation = field(default_factory=Augmentation)
    mixed: float = 0.0
    mixed_until: float = 0.85


@dataclass(frozen=True)
class Data:
    """Training images on the device, (N, 3, H, W) uint8, and targets (N, K) float32."""

    images: Tensor
    targets: Tensor

    @classmethod
    def of(cls, images: Tensor, labels: Tensor, classes: int, device: torch.device) -> Data:
        """Copy images and labels (N,) to the device, once for the whole training."""
        targets = F.one_hot(labels, classes).to(torch.float32)
        return cls(images.to(device), targets.to(device))


def fit(
    net: nn.Module,
    data: Data,
    recipe: Recipe,
    generator: torch.Generator,
    test_accuracy: Callable[[nn.Module], float] | None = None,
) -> None:
    """Train a network that returns (features, logits), in place, on the data's device.

    Prints about ten lines of progress on stderr. Between them nothing waits for the device.

    Args:
        net: on the device; in evaluation mode afterwards.
        data: the training images.
        recipe: how to train.
        generator: on the device; draws order, augmentation and boxes.
        test_accuracy: computes an accuracy to print.
    """
    device = data.images.device
    on_gpu = device.type == "cuda"
    forward = torch.compile(net) if on_gpu else net
    size = min(recipe.batch_size, len(data.images))
    steps = len(data.images) // size
    optimizer = _optimizer(net, recipe, fused=on_gpu)
    every = max(1, recipe.epochs // REPORTS)
    began, reported = time.perf_counter(), 0
    net.train()
    with torch.backends.cudnn.flags(enabled=True, benchmark=True):
        for epoch in range(1, recipe.epochs + 1):
            order = torch.randperm(len(data.images), generator=generator, device=device)
            for step, index in enumerate(order[: steps * size].view(steps, size)):
                progress = (epoch - 1 + step / steps) / recipe.epochs
                for group in optimizer.param_groups:
                    group["lr"] = recipe.lr * warm_cosine(progress)
                x, targets = _batch(data, index, recipe, progress, generator)
                loss = _update(forward, x, targets, optimizer)
            if epoch % every == 0 or epoch == recipe.epochs:
                line = f"epoch {epoch} of {recipe.epochs}, loss {loss.item():.4f}"  # synchronises
                seconds = (time.perf_counter() - began) / (epoch - reported)
                line += f"{_tested(net, test_accuracy)}, {seconds:.2f} s per epoch"
                print(line, file=sys.stderr)
                began, reported = time.perf_counter(), epoch
    net.eval()


def _tested(net: nn.Module, test_accuracy: Callable[[nn.Module], float] | None) -> str:
    """The part of a progress line about the test images."""
    if test_accuracy is None:
        return ""
    net.eval()
    accuracy = test_accuracy(net)
    net.train()
    return f", test accuracy {accuracy:.4f}"


def _update(
    forward: Callable[[Tensor], tuple[Tensor, Tensor]],
    x: Tensor,
    targets: Tensor,
    optimizer: torch.optim.Optimizer,
) -> Tensor:
    """Update the weights once and return the loss, without waiting for the device."""
    with torch.autocast(x.device.type, torch.bfloat16, enabled=x.is_cuda):
        logits = forward(x)[1]
    loss = F.cross_entropy(logits.float(), targets)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
    return loss.detach()


def _batch(
    data: Data, index: Tensor, recipe: Recipe, progress: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Augmented images (N, 3, H, W) in [-1, 1] and targets (N, K) for one update."""
    x = augment(data.images[index], recipe.augmentation, generator)
    targets = data.targets[index]
    if recipe.mixed and progress < recipe.mixed_until:
        x, targets = cut_mix(x, targets, recipe.mixed, generator)
    return x.to(memory_format=torch.channels_last), targets


def _optimizer(net: nn.Module, recipe: Recipe, *, fused: bool) -> torch.optim.SGD:
    """SGD without weight decay on biases and normalisation."""
    matrices = [weight for weight in net.parameters() if weight.ndim > 1]
    vectors = [weight for weight in net.parameters() if weight.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, recipe.lr, momentum=0.9, nesterov=True, fused=fused)
