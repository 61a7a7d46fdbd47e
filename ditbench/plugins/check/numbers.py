"""Numbers: the same again, in other types, counted, saved, compiled."""

from __future__ import annotations

import copy
import re

import torch
from safetensors.torch import load, save
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ditbench.models.cost import count
from ditbench.plugins.check.subject import (
    CLASSES,
    USUAL,
    BrokenPromiseError,
    Subject,
    inputs,
    tokens_of,
)
from ditbench.plugins.user_traceback import in_one_line

# Relative errors, of the 2-norm: bf16 has 8 bits, float32 has 24.
BF16_ERROR = 0.1
FLOAT32_ERROR = 1e-3


def of_repetition(subject: Subject) -> str:
    """The output depends on nothing but the image, its timestep and its label."""
    model = subject.random_model()
    x, t, y = inputs()
    before = torch.random.get_rng_state()
    with torch.no_grad():
        out = model(x, t, y)
        if not torch.equal(model(x, t, y), out):
            raise BrokenPromiseError(f"{subject.at('forward')}the same input has two outputs")
        if not torch.equal(torch.random.get_rng_state(), before):
            raise BrokenPromiseError(
                f"{subject.at('forward')}a forward pass draws from torch's global stream"
            )
        if _error(model.train()(x, t, y), out) > FLOAT32_ERROR:
            raise BrokenPromiseError(
                f"{subject.at('forward')}in training mode the output is another",
                "leave dropout out: draws would differ between strategies",
            )
        alone = model.eval()(x[:1], t[:1], y[:1])
    if _error(alone, out[:1]) > FLOAT32_ERROR:
        raise BrokenPromiseError(
            f"{subject.at('forward')}an image's output depends on the others of its batch"
        )
    return "the same output again, in training, and for an image alone"


def in_float64(subject: Subject) -> str:
    """In float64 the model computes in float64, and what it computes in float32."""
    model, given = subject.random_model(), inputs()
    with torch.no_grad():
        expected = model(*given)
        x, t, y = given
        model.double()
        if model.t_embedder is not None:  # which computes its sinusoids in float32
            model.t_embedder.float().register_forward_hook(lambda _m, _args, out: out.double())
        out = model(x.double(), t, y)
    if out.dtype != torch.float64:
        raise BrokenPromiseError(f"{subject.at('forward')}float64 in, {out.dtype} out")
    error = _error(out, expected)
    if not error < FLOAT32_ERROR:
        raise BrokenPromiseError(f"{subject.at('forward')}float32 is {error:.1e} from float64")
    return f"float32 is {error:.0e} from it"


def in_bf16(subject: Subject) -> str:
    """Under bf16 autocast tokens stay float32, and the output near that in float32."""
    model, given = subject.random_model(), inputs()
    with torch.no_grad():
        expected = model(*given)
        with torch.autocast("cpu", torch.bfloat16):
            _, tokens, out = tokens_of(model, *given)
    if tokens.dtype != torch.float32:
        raise BrokenPromiseError(f"{subject.at('forward')}the residual stream is {tokens.dtype}")
    error = _error(out, expected)
    if not error < BF16_ERROR:
        raise BrokenPromiseError(f"{subject.at('forward')}bf16 is {error:.1e} from float32")
    return f"tokens stay float32; the output is {error:.0e} from float32"


def of_cost(subject: Subject) -> str:
    """What is counted without weights is what torch counts on the meta device."""
    task = USUAL
    cost = count(
        subject.name,
        task.size,
        height=task.height,
        width=task.width,
        channels=task.channels,
        num_classes=CLASSES,
    )
    with torch.device("meta"):
        model = subject.bare_model()
        given = (torch.empty(1, task.channels, task.height, task.width), torch.empty(1),
                 torch.empty(1, dtype=torch.long))  # fmt: skip
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(*given)
    flops = counter.get_total_flops()
    if round(cost.gflops * 1e9) != flops:
        raise BrokenPromiseError(
            f"{cost.gflops * 1e9:,.0f} FLOPs are counted, torch counts {flops:,}",
            "an operation is counted by one of the two alone: use torch's products",
        )
    return f"{cost.parameters:,} parameters, {cost.gmacs * 1e3:.3f} million MACs, as torch counts"


def of_checkpoint(subject: Subject) -> str:
    """A model that takes another's state, or is its copy, computes the same."""
    model, given = subject.random_model(), inputs()
    other = subject.random_model(seed=1)
    other.load_state_dict(load(save(model.state_dict())))
    with torch.no_grad():
        out = model(*given)
        for what, twin in (
            ("a model with its saved state", other),
            ("its copy", copy.deepcopy(model)),
        ):
            if not torch.equal(twin(*given), out):
                raise BrokenPromiseError(f"{what} has another output")
    return "saved as safetensors, loaded and copied, it computes the same"


def compiled(subject: Subject) -> str:
    """`torch.compile` takes the whole model as one graph, forward and backward."""
    model, given = subject.random_model(), inputs()
    expected = _with_gradients(model(*given), list(model.parameters()))
    import torch._dynamo  # a second: only here

    # A process that checks one strategy after the other compiles the same code again and again.
    without_limit = torch._dynamo.config.patch(recompile_limit=10**6)
    compiled_model = torch.compile(model, fullgraph=True, dynamic=False, backend="aot_eager")
    try:
        with without_limit:
            out = _with_gradients(compiled_model(*given), list(model.parameters()))
    except Exception as error:  # torch's compiler, or what it could not make of the code
        raise BrokenPromiseError(_compiler_says(error, subject.file)) from error
    for one, other in zip(expected, out, strict=True):
        if _error(one, other) > FLOAT32_ERROR:
            raise BrokenPromiseError(f"{subject.at('forward')}compiled it computes something else")
    return "one graph, forward and backward"


def _with_gradients(out: Tensor, parameters: list[Tensor]) -> list[Tensor]:
    gradients = torch.autograd.grad(out.square().sum(), parameters, materialize_grads=True)
    return [out.detach(), *gradients]


def _compiler_says(error: Exception, file: str | None) -> str:
    """The first line of a compiler's pages, and the line that it is about."""
    lines = re.findall(rf'File "{re.escape(file)}", line (\d+)', str(error)) if file else []
    first = next(iter(str(error).splitlines()), "") or in_one_line(None, error)
    return f"{file}:{lines[-1]}: {first}" if lines else first


def _error(value: Tensor, expected: Tensor) -> float:
    """How far a value is from another, as a share of that."""
    return ((value - expected).norm() / expected.norm().clamp_min(1e-12)).item()
