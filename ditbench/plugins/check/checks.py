"""The checks. Each returns its finding; it raises a `DitbenchError`, or the block's exception."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ditbench.amounts import counted
from ditbench.errors import DitbenchError
from ditbench.models.blocks.base import Block
from ditbench.models.cost import count
from ditbench.plugins.check.models import (
    CLASSES,
    TASKS,
    USUAL,
    bare_model,
    inputs,
    new_model,
    random_model,
    tokens_of,
)
from ditbench.plugins.user_traceback import in_one_line, short_path

VISIBLE = 1e-4  # outputs are about one: smaller changes are rounding
# Relative errors in the 2-norm: bf16 has 8 bits, float32 has 24.
BF16_ERROR = 0.1
FLOAT32_ERROR = 1e-3
DRAWS = "a rule draws from the generator that it receives"
BUILD = "__init__(self, spec, index) begins with super().__init__(spec, index)"
IN_PLACE = "write x = x + h, not x += h"


def require(condition: object, reason: str, hint: str | None = None) -> None:
    """Raise a `DitbenchError` unless a condition holds; the default hint is that of the check."""
    if not condition:
        raise DitbenchError(reason, hint)


def shapes(block: type[Block]) -> str:
    """Blocks return tokens of the shape that they receive, for several N, T and D."""
    for task in TASKS:
        try:
            model = random_model(block, task)
        except (Exception, SystemExit) as error:
            if isinstance(error, DitbenchError):
                raise
            reason = in_one_line(error, inspect.getsourcefile(block))
            raise DitbenchError(reason, BUILD) from error
        if block.run_blocks.__func__ is Block.run_blocks.__func__:  # type: ignore[attr-defined]
            for each in model.blocks:
                each.register_forward_hook(
                    lambda _module, args, out: _check("forward returns", out, args[0].shape)
                )
        expected = (task.images, task.tokens, task.size.hidden_size)
        model.final_layer.register_forward_pre_hook(
            lambda _module, args, expected=expected: _check("the blocks return", args[0], expected)
        )
        with torch.no_grad():
            out = model(*inputs(task))
        require(out.isfinite().all(), "the output is not finite")
    return f"T = {', '.join(str(task.tokens) for task in TASKS)} tokens pass"


def _check(what: str, tokens: Any, expected: tuple[int, ...]) -> None:
    shape = tuple(tokens.shape) if isinstance(tokens, Tensor) else type(tokens).__name__
    require(shape == expected, f"{what} {shape}, expected {tuple(expected)}")


def weights(block: type[Block]) -> str:
    """The seed alone sets every parameter and buffer; every rule of `initial` is used."""
    names = [name for name, _ in new_model(block).named_parameters()]
    for pattern, _rule in block.initial:
        require(
            any(fnmatchcase(name, pattern) for name in names),
            f"`initial` names '{pattern}', which matches no parameter",
            f"parameters are called {', '.join(names[-3:])}, ...",
        )
    before = torch.random.get_rng_state()
    one, again = new_model(block, seed=3).state_dict(), new_model(block, seed=3).state_dict()
    for name, value in one.items():
        require(
            not value.is_floating_point() or value.isfinite().all(),
            f"{name} is not set: models are built without weights, then filled",
            "set parameters by `initial`; make constants in forward, not as buffers",
        )
        require(torch.equal(value, again[name]), f"{name} starts differently each time", DRAWS)
    unchanged = torch.equal(torch.random.get_rng_state(), before)
    require(unchanged, "building a model draws from torch's global generator", DRAWS)
    return f"{len(names)} parameters depend on the seed alone"


def start(block: type[Block]) -> str:
    """`starts_as` is `identity` exactly if the blocks are the identity at the start."""
    with torch.no_grad():
        before, after, _ = tokens_of(new_model(block), *inputs())
    stated = block.starts_as
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


def gradients(block: type[Block]) -> str:
    """Every parameter gets a gradient, in models of one block and of four."""
    for depth in (1, 4):
        model = random_model(block, USUAL._replace(size=replace(USUAL.size, depth=depth)))
        x, t, _ = inputs()
        # Embeddings of labels that are not in the batch have no gradient.
        with _changes_in_place_named():
            model(x, t, torch.arange(len(x))).square().sum().backward()
        where = f"in a model of {counted(depth, 'block')}"
        for name, parameter in model.named_parameters():
            used = parameter.grad is not None and parameter.grad.any()
            require(used, f"{name} gets no gradient {where}", "use it, or leave it out")
            finite = parameter.grad is None or parameter.grad.isfinite().all()
            require(finite, f"the gradient of {name} is not finite {where}")
    return "every parameter gets one, in models of 1 and 4 blocks"


def conditioning(block: type[Block]) -> str:
    """The output depends on t and c exactly if the block declares that it reads them."""
    model = random_model(block)
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
                reads == getattr(block, attribute),
                f"{attribute} is {not reads}, and {name} "
                f"{'changes' if reads else 'does not change'} the output",
                f"{attribute} = {reads}, or {'do not ' * reads}use it",
            )
            in_blocks = (other_tokens - tokens).abs().max() > VISIBLE
            only = " by the final layer only" if reads and not in_blocks else ""
            found.append(f"{name} is {'read' if reads else 'not read'}{only}")
    return ", ".join(found)


def determinism(block: type[Block]) -> str:
    """The output depends on nothing but the image, its timestep and its label."""
    model = random_model(block)
    x, t, y = inputs()
    before = torch.random.get_rng_state()
    with torch.no_grad():
        out = model(x, t, y)
        require(torch.equal(model(x, t, y), out), "the same input has two outputs")
        unchanged = torch.equal(torch.random.get_rng_state(), before)
        require(unchanged, "a forward pass draws from torch's global generator")
        require(
            _error(model.train()(x, t, y), out) <= FLOAT32_ERROR,
            "the output differs in training mode",
            "leave dropout out: its draws would differ between blocks",
        )
        alone = model.eval()(x[:1], t[:1], y[:1])
    mixed = _error(alone, out[:1]) > FLOAT32_ERROR
    require(not mixed, "an image's output depends on the other images of its batch")
    return "same output again, in training mode, and for one image"


def float64(block: type[Block]) -> str:
    """In float64 the model computes what it computes in float32, without a cast to float32."""
    model, (x, t, y) = random_model(block), inputs()
    with torch.no_grad():
        expected = model(x, t, y)
        model.double()
        if model.t_embedder is not None:  # its sinusoids are float32
            model.t_embedder.float().register_forward_hook(lambda _m, _args, out: out.double())
        out = model(x.double(), t, y)
    require(out.dtype == torch.float64, f"the output for float64 is {out.dtype}")
    error = _error(out, expected)
    require(error < FLOAT32_ERROR, f"float32 and float64 differ by {error:.1e}")
    return f"differs from float32 by {error:.0e}"


def bf16(block: type[Block]) -> str:
    """Under bf16 autocast tokens stay float32, and the output stays near that of float32."""
    model, given = random_model(block), inputs()
    with torch.no_grad():
        expected = model(*given)
        with torch.autocast("cpu", torch.bfloat16):
            _, tokens, out = tokens_of(model, *given)
    require(tokens.dtype == torch.float32, f"the tokens after the blocks are {tokens.dtype}")
    error = _error(out, expected)
    require(error < BF16_ERROR, f"bf16 and float32 differ by {error:.1e}")
    return f"tokens stay float32; differs from float32 by {error:.0e}"


def cost(block: type[Block]) -> str:
    """The cost that runs report is the one that torch counts."""
    counted = count(block, USUAL.size, **USUAL.shape)
    given = (each[:1].to("meta") for each in inputs())
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        bare_model(block)(*given)
    ours, reference = round(counted.gflops * 1e9), counter.get_total_flops()
    hint = "use torch's own matrix products and attention"
    require(ours == reference, f"ditbench counts {ours:,} FLOPs, torch {reference:,}", hint)
    return f"{counted.parameters:,} parameters and {ours:,} FLOPs, as torch counts"


def checkpoint(block: type[Block]) -> str:
    """A model that loads another's weights, and a copy of it, compute the same."""
    model, other, given = random_model(block), random_model(block, seed=1), inputs()
    other.load_state_dict(load(save(model.state_dict())))
    with torch.no_grad():
        out = model(*given)
        require(torch.equal(other(*given), out), "a model with its saved weights differs from it")
        require(torch.equal(copy.deepcopy(model)(*given), out), "its copy differs from it")
    return "saved and loaded, or copied, it computes the same"


def compiled(block: type[Block]) -> str:
    """`torch.compile` takes each block as one graph, forward and backward."""
    model, given = random_model(block), inputs()
    parameters: list[Tensor] = list(model.parameters())
    with _changes_in_place_named():
        expected = _with_gradients(model(*given), parameters)
    import torch._dynamo  # takes a second

    for each in model.blocks:
        each.compile(fullgraph=True, dynamic=False, backend="aot_eager")
    try:
        # Checking several blocks in one process compiles the same functions again.
        with torch._dynamo.config.patch(recompile_limit=10**6):
            out = _with_gradients(model(*given), parameters)
    except Exception as error:  # of torch's compiler, or of the block while it is traced
        raise DitbenchError(_compiler_message(error, inspect.getsourcefile(block))) from error
    change = max(_error(one, other) for one, other in zip(out, expected, strict=True))
    require(change <= FLOAT32_ERROR, f"the compiled block differs by {change:.1e}")
    return "each block is one graph, forward and backward"


@contextmanager
def _changes_in_place_named() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch's own message does not name the line
        reason = "a tensor that the backward pass needs is changed in place"
        require("inplace operation" not in str(error), reason, IN_PLACE)
        raise


def _with_gradients(out: Tensor, parameters: list[Tensor]) -> list[Tensor]:
    gradients = torch.autograd.grad(out.square().sum(), parameters, materialize_grads=True)
    return [out.detach(), *gradients]


def _compiler_message(error: Exception, file: str | None) -> str:
    """The first line of the compiler's message, after the line of the block that it names."""
    lines = re.findall(rf'File "{re.escape(file)}", line (\d+)', str(error)) if file else []
    first = next(iter(str(error).splitlines()), "") or type(error).__name__
    return f"{short_path(file)}:{lines[-1]}: {first}" if file and lines else first


def _error(value: Tensor, expected: Tensor) -> float:
    """The relative error of a value in the 2-norm."""
    return ((value - expected).norm() / expected.norm().clamp_min(1e-12)).item()
