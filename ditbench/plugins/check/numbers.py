"""Checks of numbers: repeated, in other types, counted, saved, compiled."""

from __future__ import annotations

import copy
import re

import torch
from safetensors.torch import load, save
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ditbench.models.cost import count
from ditbench.plugins.check.subject import USUAL, CheckError, Subject, inputs, require, tokens_of
from ditbench.plugins.user_traceback import short_path

# Relative errors in the 2-norm: bf16 has 8 bits, float32 has 24.
BF16_ERROR = 0.1
FLOAT32_ERROR = 1e-3


def determinism(subject: Subject) -> str:
    """The output depends on nothing but the image, its timestep and its label."""
    model = subject.random_model()
    x, t, y = inputs()
    before = torch.random.get_rng_state()
    with torch.no_grad():
        out = model(x, t, y)
        require(torch.equal(model(x, t, y), out), "the same input has two outputs")
        drawn = not torch.equal(torch.random.get_rng_state(), before)
        require(not drawn, "a forward pass draws from torch's global generator")
        require(
            _error(model.train()(x, t, y), out) <= FLOAT32_ERROR,
            "the output differs in training mode",
            "leave dropout out: its draws would differ between blocks",
        )
        alone = model.eval()(x[:1], t[:1], y[:1])
    mixed = _error(alone, out[:1]) > FLOAT32_ERROR
    require(not mixed, "an image's output depends on the other images of its batch")
    return "the same output again, in training, and without a batch"


def float64(subject: Subject) -> str:
    """In float64 the model computes what it computes in float32, without a cast to float32."""
    model, (x, t, y) = subject.random_model(), inputs()
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


def bf16(subject: Subject) -> str:
    """Under bf16 autocast tokens stay float32, and the output stays near that of float32."""
    model, given = subject.random_model(), inputs()
    with torch.no_grad():
        expected = model(*given)
        with torch.autocast("cpu", torch.bfloat16):
            _, tokens, out = tokens_of(model, *given)
    require(tokens.dtype == torch.float32, f"the tokens after the blocks are {tokens.dtype}")
    error = _error(out, expected)
    require(error < BF16_ERROR, f"bf16 and float32 differ by {error:.1e}")
    return f"tokens stay float32; differs from float32 by {error:.0e}"


def cost(subject: Subject) -> str:
    """The cost that runs report is the one that torch counts."""
    counted = count(subject.block, USUAL.size, name="", **USUAL.shape)
    with torch.device("meta"):
        given = (torch.empty(1, USUAL.channels, USUAL.height, USUAL.width), torch.empty(1),
                 torch.empty(1, dtype=torch.long))  # fmt: skip
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        subject.bare_model()(*given)
    ours, torchs = round(counted.gflops * 1e9), counter.get_total_flops()
    hint = "use torch's own matrix products and attention"
    require(ours == torchs, f"ditbench counts {ours:,} FLOPs, torch {torchs:,}", hint)
    return f"{counted.parameters:,} parameters and {ours:,} FLOPs, as torch counts"


def checkpoint(subject: Subject) -> str:
    """A model that loads another's weights, and a copy of it, compute the same."""
    model, other, given = subject.random_model(), subject.random_model(seed=1), inputs()
    other.load_state_dict(load(save(model.state_dict())))
    with torch.no_grad():
        out = model(*given)
        require(torch.equal(other(*given), out), "a model with its saved weights differs from it")
        require(torch.equal(copy.deepcopy(model)(*given), out), "its copy differs from it")
    return "saved and loaded, or copied, it computes the same"


def compiled(subject: Subject) -> str:
    """`torch.compile` takes each block as one graph, forward and backward."""
    model, given = subject.random_model(), inputs()
    expected = _with_gradients(model(*given), list(model.parameters()))
    import torch._dynamo  # takes a second

    for block in model.blocks:
        block.compile(fullgraph=True, dynamic=False, backend="aot_eager")
    try:
        # A process that checks one block after the other compiles the same functions again.
        with torch._dynamo.config.patch(recompile_limit=10**6):
            out = _with_gradients(model(*given), list(model.parameters()))
    except Exception as error:  # of torch's compiler, or of the block while it is traced
        raise CheckError(_compiler_message(error, subject.file)) from error
    change = max(_error(one, other) for one, other in zip(out, expected, strict=True))
    require(change <= FLOAT32_ERROR, f"the compiled block differs by {change:.1e}")
    return "each block is one graph, forward and backward"


def _with_gradients(out: Tensor, parameters: list[Tensor]) -> list[Tensor]:
    gradients = torch.autograd.grad(out.square().sum(), parameters, materialize_grads=True)
    return [out.detach(), *gradients]


def _compiler_message(error: Exception, file: str | None) -> str:
    """The first line of the compiler's message, and the line of the block that it names."""
    lines = re.findall(rf'File "{re.escape(file)}", line (\d+)', str(error)) if file else []
    first = next(iter(str(error).splitlines()), "") or type(error).__name__
    return f"{short_path(file)}:{lines[-1]}: {first}" if file and lines else first


def _error(value: Tensor, expected: Tensor) -> float:
    """The relative error of a value in the 2-norm."""
    return ((value - expected).norm() / expected.norm().clamp_min(1e-12)).item()
