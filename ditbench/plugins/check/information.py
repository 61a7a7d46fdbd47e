"""What reaches the output of a strategy, and what does not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ditbench.plugins.check.subject import (
    CLASSES,
    USUAL,
    BrokenPromiseError,
    Subject,
    inputs,
    tokens_of,
)

if TYPE_CHECKING:
    from torch import Tensor

# Changes of an output whose numbers are about one: below it is rounding.
VISIBLE = 1e-4


def of_parameters(subject: Subject) -> str:
    """Every parameter gets a gradient, in models of one block and of four."""
    count = 0
    for depth in (1, 4):
        model = subject.random_model(replace(USUAL, size=replace(USUAL.size, depth=depth)))
        x, t, _ = inputs()
        # All labels at once would leave rows of their table without a gradient: it is not asked.
        model(x, t, torch.arange(len(x))).square().sum().backward()
        for name, parameter in model.named_parameters():
            _check_gradient(name, parameter.grad, depth)
            count += 1
    return f"all {count} parameters of models of 1 and 4 blocks get one"


def _check_gradient(name: str, gradient: Tensor | None, depth: int) -> None:
    of = f"in a model of {depth} block{'s'[: depth != 1]}"
    if gradient is None or not gradient.any():
        raise BrokenPromiseError(f"{name} gets no gradient {of}", "use it, or leave it out")
    if not gradient.isfinite().all():
        raise BrokenPromiseError(f"the gradient of {name} is not finite {of}")


def of_conditioning(subject: Subject) -> str:
    """What is declared as read changes the output, and what is not does not."""
    model = subject.random_model()
    x, t, y = inputs()
    told = []
    with torch.no_grad():
        _, tokens, out = tokens_of(model, x, t, y)
        for name, attribute, given in (
            ("t", "reads_timestep", (x, (t + 500) % 1000, y)),
            ("c", "reads_class", (x, t, (y + 1) % (CLASSES + 1))),
        ):
            _, other_tokens, other = tokens_of(model, *given)
            is_read = bool((other - out).abs().max() > VISIBLE)
            if is_read != getattr(subject.strategy, attribute):
                raise BrokenPromiseError(
                    f"{attribute} is {not is_read}, and {name} "
                    f"{'changes' if is_read else 'does not change'} the output",
                    f"{attribute} = {is_read}, or {'do not ' * is_read}use it",
                )
            in_blocks = bool((other_tokens - tokens).abs().max() > VISIBLE)
            by = "" if in_blocks or not is_read else " (by the final layer alone)"
            told.append(f"{name} is {'read' if is_read else 'not read'}{by}")
    return ", ".join(told)
