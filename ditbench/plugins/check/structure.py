"""Checks of shapes, weights, and what reaches the output."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor

from ditbench.models.blocks.base import Block
from ditbench.plugins.check.subject import (
    CLASSES,
    TASKS,
    USUAL,
    Subject,
    inputs,
    require,
    tokens_of,
)

# Outputs are about one: smaller changes are rounding.
VISIBLE = 1e-4
DRAWS = "a rule draws from the generator that it receives"


def shapes(subject: Subject) -> str:
    """Blocks return tokens of the shape that they receive, for several N, T and D."""
    for task in TASKS:
        model = subject.random_model(task)
        if subject.block.run_blocks.__func__ is Block.run_blocks.__func__:  # type: ignore[attr-defined]
            for block in model.blocks:
                block.register_forward_hook(
                    lambda _module, args, out: _check("forward returns", out, _shape(args[0]))
                )
        expected = str((task.images, task.tokens, task.size.hidden_size))
        model.final_layer.register_forward_pre_hook(
            lambda _module, args, expected=expected: _check("the blocks return", args[0], expected)
        )
        with torch.no_grad():
            out = model(*inputs(task))
        require(bool(out.isfinite().all()), "the output is not finite")
    return f"T = {', '.join(str(task.tokens) for task in TASKS)} tokens pass"


def _check(what: str, tokens: Any, expected: str) -> None:
    require(_shape(tokens) == expected, f"{what} {_shape(tokens)}, expected {expected}")


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def weights(subject: Subject) -> str:
    """Every parameter and buffer is set, by the seed alone; every rule of `initial` is used."""
    names = [name for name, _ in subject.model().named_parameters()]
    for pattern, _rule in subject.block.initial:
        require(
            any(fnmatchcase(name, pattern) for name in names),
            f"`initial` names '{pattern}', which matches no parameter",
            f"parameters are called {', '.join(names[-3:])}, ...",
        )
    before = torch.random.get_rng_state()
    one, again = subject.model(seed=3).state_dict(), subject.model(seed=3).state_dict()
    for name, value in one.items():
        require(
            not value.is_floating_point() or bool(value.isfinite().all()),
            f"{name} is not set: models are built without weights, then filled",
            "set parameters by `initial`; make constants in forward, not as buffers",
        )
        require(torch.equal(value, again[name]), f"{name} starts differently each time", DRAWS)
    unchanged = torch.equal(torch.random.get_rng_state(), before)
    require(unchanged, "building a model draws from torch's global generator", DRAWS)
    return f"{len(names)} parameters start by the seed alone"


def start(subject: Subject) -> str:
    """`starts_as` is `identity` exactly if the blocks are the identity at the start."""
    with torch.no_grad():
        before, after, _ = tokens_of(subject.model(), *inputs())
    stated = subject.block.starts_as
    if torch.equal(before, after):
        hint = "starts_as = 'identity'"
        require(stated == "identity", f"tokens do not change, and starts_as is '{stated}'", hint)
        return "starts as the identity"
    change = (after - before).abs().max().item()
    require(
        stated != "identity",
        f"tokens change by up to {change:.2g}, and starts_as is 'identity'",
        "starts_as = 'random', or initialize the gates with zero",
    )
    return f"starts as stated, {stated!r}"


def gradients(subject: Subject) -> str:
    """Every parameter gets a gradient, in models of one block and of four."""
    for depth in (1, 4):
        model = subject.random_model(USUAL._replace(size=replace(USUAL.size, depth=depth)))
        x, t, _ = inputs()
        # The rows of labels that are not in the batch have no gradient.
        model(x, t, torch.arange(len(x))).square().sum().backward()
        where = f"in a model of {depth} block{'s' if depth > 1 else ''}"
        for name, parameter in model.named_parameters():
            gradient = parameter.grad
            require(
                gradient is not None and bool(gradient.any()),
                f"{name} gets no gradient {where}",
                "use it, or leave it out",
            )
            finite = gradient is None or bool(gradient.isfinite().all())
            require(finite, f"the gradient of {name} is not finite {where}")
    return "every parameter gets one, in models of 1 and 4 blocks"


def conditioning(subject: Subject) -> str:
    """What the block declares to read changes the output, and nothing else does."""
    model = subject.random_model()
    x, t, y = inputs()
    found = []
    with torch.no_grad():
        _, tokens, out = tokens_of(model, x, t, y)
        for name, attribute, changed in (
            ("t", "reads_timestep", (x, (t + 500) % 1000, y)),
            ("c", "reads_class", (x, t, (y + 1) % (CLASSES + 1))),
        ):
            _, other_tokens, other = tokens_of(model, *changed)
            reads = bool((other - out).abs().max() > VISIBLE)
            require(
                reads == getattr(subject.block, attribute),
                f"{attribute} is {not reads}, and {name} "
                f"{'changes' if reads else 'does not change'} the output",
                f"{attribute} = {reads}, or {'do not ' * reads}use it",
            )
            in_blocks = bool((other_tokens - tokens).abs().max() > VISIBLE)
            only = " by the final layer only" if reads and not in_blocks else ""
            found.append(f"{name} is {'read' if reads else 'not read'}{only}")
    return ", ".join(found)
