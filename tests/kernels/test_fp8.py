"""Linear layers in FP8, against float64 and against torch's own products."""

from importlib.util import find_spec

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from ditbench.kernels import fp8, in_fp8
from ditbench.models.dit import DiT
from ditbench.models.ops import PLAIN, linear_gelu
from ditbench.models.registry import block_class
from ditbench.models.sizes import ModelSize

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TYPES = [fp8.FORWARD, fp8.GRADIENT]
CONVERTERS = [False] + [True] * bool(find_spec("triton"))
K, L = fp8.NARROWEST, fp8.NARROWEST + 16


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def draw(*shape, dtype=torch.bfloat16):
    return torch.randn(*shape, dtype=dtype, device=DEVICE, requires_grad=True)


def converter(fused):
    return in_fp8(PLAIN, fused=fused).linear.keywords["convert"]


@pytest.mark.parametrize("dtype", TYPES)
@given(factor=st.floats(1e-20, 1e20), seed=st.integers(0, 99))
def test_numbers_are_the_nearest_of_the_type(dtype, factor, seed):
    x = factor * torch.randn(16, 32, generator=torch.Generator().manual_seed(seed))
    scaled = fp8.convert(x, dtype)
    numbers = scaled.rows.double()
    limits = torch.finfo(dtype)
    assert numbers.abs().max() == limits.max
    wanted = x.double() / scaled.scale.double()
    # Half of a last digit; below the smallest normal number, half of the smallest one.
    allowed = wanted.abs().clamp(min=limits.tiny) * limits.eps / 2
    assert ((numbers - wanted).abs() <= allowed * (1 + 1e-6)).all()
    assert torch.equal(scaled.columns.float(), scaled.rows.float().T)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(128, 256), (64, 48), (16, 300)])
@pytest.mark.skipif(True not in CONVERTERS, reason="needs Triton")
def test_the_kernel_converts_as_plain_operations_do(dtype, shape):
    x = draw(*shape, dtype=torch.float32).detach()
    x[:, ::7] *= 1e-5  # numbers that are not normal in FP8, and zeros
    ours, plain = converter(True)(x, dtype), converter(False)(x, dtype)
    assert all(torch.equal(one.float(), two.float()) for one, two in zip(ours, plain, strict=True))


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
@pytest.mark.parametrize("fused", CONVERTERS)
def test_zeros_stay_and_what_is_not_finite_is_not_hidden(value, fused):
    x = torch.full((16, 16), value, device=DEVICE)
    numbers = converter(fused)(x, fp8.GRADIENT).rows.float()
    assert (numbers == 0).all() if value == 0 else numbers.isnan().all()


def layer(name, *inputs):
    return {"linear": F.linear, "linear_gelu": linear_gelu}[name](*inputs)


@pytest.mark.parametrize("name", ["linear", "linear_gelu"])
@pytest.mark.parametrize("fused", CONVERTERS)
def test_layer(name, fused):
    """Within the precision of E4M3 and E5M2: 3 and 2 bits after the point."""
    x, weight, bias = draw(2, 32, K), draw(L, K, dtype=torch.float32), draw(L, dtype=torch.float32)
    given = [x, weight, bias]
    wide = [each.detach().double().requires_grad_() for each in given]
    ours, exact = getattr(in_fp8(PLAIN, fused=fused), name)(*given), layer(name, *wide)
    grad = torch.randn_like(ours)
    found = [ours, *torch.autograd.grad(ours, given, grad)]
    wanted = [exact, *torch.autograd.grad(exact, wide, grad.double())]
    assert [each.dtype for each in found] == [torch.bfloat16, *(each.dtype for each in given)]
    pairs = zip(found, wanted, strict=True)
    errors = [(one.double() - two).norm() / two.norm() for one, two in pairs]
    assert max(errors) < 0.15
    assert errors[1] > 1e-3  # of bf16 it would be smaller


@pytest.mark.parametrize(
    ("shape", "outputs"),
    [((2, 32, K), 16), ((2, 32, 16), L), ((64, K), L), ((2, 31, K), L), ((2, 32, K), L + 1)],
)
def test_layers_that_stay_in_half_precision(shape, outputs):
    x, weight = draw(*shape), draw(outputs, shape[-1])
    assert torch.equal(in_fp8(PLAIN, fused=False).linear(x, weight), F.linear(x, weight))


def test_samples_are_computed_in_half_precision():
    x, weight, bias = draw(2, 32, K), draw(L, K), draw(L)
    ops = in_fp8(PLAIN, fused=False)
    with torch.no_grad():
        assert torch.equal(ops.linear(x, weight, bias), F.linear(x, weight, bias))
        assert torch.equal(ops.linear_gelu(x, weight, bias), linear_gelu(x, weight, bias))


@pytest.mark.parametrize("block", ["adaln-zero", "cross-attention", "in-context"])
def test_model(block):
    """Gradients of a model in FP8 point where those in float32 do."""
    size = ModelSize(depth=2, hidden_size=K, num_heads=4, patch_size=2)
    shape = {"height": 8, "width": 8, "channels": 4, "out_channels": 4, "num_classes": 3}
    arguments = {"block": block_class(block), "size": size, **shape}
    x = draw(8, 4, 8, 8, dtype=torch.float32).detach()
    t, y = torch.linspace(0, 999, 8, device=DEVICE), torch.arange(8, device=DEVICE) % 3
    gradients = []
    for ops in (PLAIN, in_fp8(PLAIN, fused=False)):
        model = DiT(**arguments, ops=ops)
        torch.manual_seed(1)
        for weight in model.parameters():  # gates that are zero would hide every block
            torch.nn.init.normal_(weight, std=0.05)
        model.to(DEVICE)
        with torch.autocast(DEVICE, torch.bfloat16, enabled=ops is not PLAIN):
            (model(x, t, y).float() - x).square().mean().backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in model.parameters()]))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.95
