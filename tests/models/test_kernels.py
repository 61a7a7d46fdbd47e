"""Each kernel against torch in float64: on a GPU in bf16, elsewhere interpreted in float32."""

import copy

import pytest
import torch
import torch.nn.functional as F
from ditbench.models.halved import Halved, half, halved
from ditbench.models.kernels.attention import CrossAttention
from ditbench.models.kernels.linear import Linear, LinearGelu, linear_gelu_alone
from ditbench.models.kernels.packed import self_attention
from ditbench.models.kernels.residual import Residual
from ditbench.models.kernels.sums import note_sums, sum_partial, sum_rows
from ditbench.models.switches import PAPER, Switches

from ditbench.models import ops
from ditbench.models.dit import DiT
from ditbench.models.sizes import ModelSize
from ditbench.training.flat import flatten

ON_GPU = torch.cuda.is_available()  # elsewhere tests/conftest.py has them interpreted
DEVICE = "cuda" if ON_GPU else "cpu"
DTYPE = torch.bfloat16 if ON_GPU else torch.float32
TOLERANCE = 1e-2 if ON_GPU else 2e-6


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def draw(*shape, dtype=DTYPE):
    return torch.randn(*shape, dtype=dtype, device=DEVICE, requires_grad=True)


def exact(tensor):
    return None if tensor is None else tensor.detach().double().requires_grad_()


def check(ours, theirs, inputs, exact_inputs, tolerance=TOLERANCE):
    """Results and all gradients, by the norm of the difference."""
    grads = [torch.randn_like(out) for out in ours]
    found = torch.autograd.grad(ours, inputs, grads)
    wanted = torch.autograd.grad(theirs, exact_inputs, [grad.double() for grad in grads])
    for one, two in zip((*ours, *found), (*theirs, *wanted), strict=True):
        assert (one.double() - two).norm() <= tolerance * two.norm()


# One tile, padded tiles, several tiles of a flash kernel, and what only a library does.
SHAPES = [(2, 64, 2, 64), (2, 66, 2, 72), (1, 16, 4, 16), (1, 150, 2, 32), (1, 256, 1, 64)]


@pytest.mark.parametrize(("N", "T", "h", "d"), [*SHAPES, (2, 140, 2, 24)])
def test_self_attention(N, T, h, d):
    qkv = draw(N, T, 3 * h * d)
    wide = exact(qkv)
    q, k, v = wide.unflatten(-1, (3, h, d)).permute(2, 0, 3, 1, 4)
    expected = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    check([self_attention(qkv, h)], [expected], [qkv], [wide])


@pytest.mark.parametrize(("N", "T", "h", "d"), SHAPES)
@pytest.mark.parametrize("S", [2, 17])
def test_cross_attention(N, T, h, d, S):
    q, kv = draw(N, T, h * d), draw(N, S, 2 * h * d)
    wide = [exact(q), exact(kv)]
    keys, values = wide[1].unflatten(-1, (2, h, d)).permute(2, 0, 3, 1, 4)
    queries = wide[0].unflatten(-1, (h, d)).transpose(1, 2)
    expected = F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2)
    check([CrossAttention.apply(q, kv, h)], [expected], [q, kv], wide)


FLAGS = [
    (add, gate, norm, modulate)
    for add in (False, True)
    for gate in (False, True)
    for norm in (None, "layer", "rms")
    for modulate in (False, True)
    if (add or norm) and (add or not gate) and (norm or not modulate)
]


@pytest.mark.parametrize(("add", "gate", "norm", "modulate"), FLAGS)
@pytest.mark.parametrize(("N", "T", "D"), [(3, 10, 96), (1, 64, 40)])
def test_residual(N, T, D, add, gate, norm, modulate):
    x, h, vectors = draw(N, T, D, dtype=torch.float32), draw(N, T, D), draw(N, 6, 1, D)
    given = [x] + [h] * add + [vectors] * (gate or modulate)
    wide = [exact(each) for each in given]

    def parts(vectors):
        gates, shift, scale = vectors.unbind(1)[:3]
        return gates if gate else None, shift if modulate else None, scale if modulate else None

    chosen = parts(vectors)
    ours = Residual.apply(x, h if add else None, *chosen, 1e-6, norm, DTYPE)
    wide_gate, shift, scale = parts(wide[-1]) if gate or modulate else (None, None, None)
    total = wide[0]
    if add:
        total = total + (wide[1] if wide_gate is None else wide_gate * wide[1])
    exact_norm = {"layer": F.layer_norm, "rms": F.rms_norm}.get(norm)
    out = exact_norm(total, (D,), eps=1e-6) if norm else None
    out = out * (1 + scale) + shift if modulate else out
    theirs = [each for each in (total if add else None, out) if each is not None]
    check([each for each in ours if each is not None], theirs, given, wide)


def test_one_sample_is_added_to_many():
    x, h = draw(1, 10, 96, dtype=torch.float32), draw(3, 10, 96)
    wide_x, wide_h = exact(x), exact(h)
    total, none = Residual.apply(x.expand(3, -1, -1), h, None, None, None, 1e-6, None, DTYPE)
    assert none is None
    check([total], [wide_x + wide_h], [x, h], [wide_x, wide_h])


def draw_weights(*shape):
    return draw(*shape, dtype=torch.float32)


@pytest.mark.parametrize("rows", [slice(None), slice(24), slice(24, None)], ids=str)
@pytest.mark.parametrize("layers", [1, 3])
def test_linear(layers, rows):
    x = draw(3, 100, 24)
    weights = [draw_weights(136, 24) for _ in range(layers)]
    biases = [draw_weights(136) for _ in range(layers)]
    given = [x, *weights, *biases]
    wide_x, *wide = [exact(each) for each in given]
    parts = [
        F.linear(wide_x, weight[rows], bias[rows])
        for weight, bias in zip(wide[:layers], wide[layers:], strict=True)
    ]
    ours = Linear.apply(x, rows, *weights, *biases)
    check([ours], [torch.cat(parts, -1)], given, [wide_x, *wide])


def test_linear_and_gelu():
    given = [draw(3, 100, 24), draw_weights(136, 24), draw_weights(136)]
    wide = [exact(each) for each in given]
    expected = F.gelu(F.linear(*wide), approximate="tanh")
    check([LinearGelu.apply(*given)], [expected], given, wide)
    alone = linear_gelu_alone(*[each.detach() for each in given])
    assert (alone.double() - expected).norm() <= TOLERANCE * expected.norm()


def test_sums_over_rows():
    x = draw(7, 111, 130).detach()
    torch.testing.assert_close(sum_rows(x), x.double().sum((0, 1)).float(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 5), (300, 70), (128, 32)])
def test_sums_of_partial_sums(shape):
    sums = draw(*shape, dtype=torch.float32).detach()
    expected = sums.double().sum(0).float()
    torch.testing.assert_close(sum_partial(sums), expected, rtol=1e-5, atol=1e-5)


def test_noted_sums_are_taken_until_what_they_sum_is_changed():
    x = draw(4, 6, 5).detach()
    note_sums(x, torch.ones(3, 2, device=DEVICE), torch.zeros(7, 3, device=DEVICE))
    assert sum_rows(x).tolist() == [3, 3, 0, 0, 0]
    x += 1
    torch.testing.assert_close(sum_rows(x), x.double().sum((0, 1)).float(), rtol=1e-4, atol=1e-3)


def test_sums_are_those_of_all_gradients_that_come_back():
    """Autograd adds a second gradient in the place of the first one, which had sums noted."""
    x, weight, bias = draw(3, 10, 24), draw_weights(96, 24), draw_weights(96)
    given = [x, weight, bias]
    h = Linear.apply(x, slice(None), weight, bias)
    wide = [exact(each) for each in given]
    wide_h = F.linear(*wide)
    tokens = draw(3, 10, 96, dtype=torch.float32).detach()
    ours = [
        Residual.apply(tokens, h, None, None, None, 1e-6, norm, DTYPE)[norm is not None]
        for norm in (None, "layer")
    ]
    total = tokens.double() + wide_h
    check(ours, [total, F.layer_norm(total, (96,), eps=1e-6)], given, wide)


class Caught(torch.autograd.Function):
    """The identity, which keeps the gradient that comes back."""

    @staticmethod
    def forward(ctx, x, kept):
        ctx.kept = kept
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        ctx.kept.append(grad)
        return grad, None


def residual(h, gates):
    x = draw(len(h), h.shape[1], h.shape[2], dtype=torch.float32)
    return Residual.apply(x, h, gates, None, None, 1e-6, "layer", DTYPE)[1]


@pytest.mark.parametrize(
    ("shape", "function"),
    [
        ((3, 66, 3 * 40), lambda h: self_attention(h, 1)),  # padded: one tile
        ((2, 150, 3 * 32), lambda h: self_attention(h, 2)),  # padded: several tiles
        ((3, 20, 40), lambda h: CrossAttention.apply(h, draw(3, 2, 80), 2)),
        ((3, 2, 80), lambda h: CrossAttention.apply(draw(3, 20, 40), h, 2)),
        ((3, 10, 96), lambda h: residual(h, None)),
        ((1, 70, 40), lambda h: residual(h, draw(1, 1, 40))),
    ],
)
def test_kernels_sum_the_rows_of_the_gradients_that_they_make(shape, function):
    """What a linear layer's backward pass is handed are noted sums, and those of its gradient."""
    h, kept = draw(*shape), []
    out = function(Caught.apply(h, kept))
    out.backward(torch.randn_like(out))
    (grad,) = kept
    assert grad.partial_sums[0] == grad._version  # still the tensor that the kernel's side returned
    expected = grad.double().sum((0, 1))
    assert (sum_rows(grad).double() - expected).norm() <= TOLERANCE * grad.double().norm()


def test_copies_in_half_precision_are_made_anew_and_found():
    layers = torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.Linear(3, 7))
    weights = list(layers.parameters())
    before = [weight.detach().clone() for weight in weights]
    copies = Halved(weights, flatten(weights), torch.bfloat16)
    for weight, old in zip(weights, before, strict=True):
        assert torch.equal(weight, old)
    with torch.no_grad():
        for weight in weights:
            weight += 1
    with copies.fresh():
        for weight in weights:
            copy = half(weight, torch.bfloat16)
            assert copy.data_ptr() != weight.data_ptr()
            assert torch.equal(copy, weight.bfloat16())
            assert half(weight, torch.bfloat16) is copy
    assert half(weights[0], torch.bfloat16) is not half(weights[0], torch.bfloat16)
    with halved(weights, torch.bfloat16):
        assert half(weights[1], torch.bfloat16) is half(weights[1], torch.bfloat16)


@pytest.mark.parametrize("switches", [PAPER, Switches(True, "rms", 2)], ids=["off", "on"])
@pytest.mark.parametrize("block", ["joint", "cross-attention"])
def test_a_model_of_kernels_is_the_one_of_torch_s_operations(monkeypatch, block, switches):
    """What the functions of `ops` hand to kernels: every norm, and all that attention reads."""
    size = ModelSize(hidden_size=32, depth=2, num_heads=2, patch_size=2)
    shape = {"height": 4, "width": 4, "channels": 1, "out_channels": 1, "num_classes": 3}
    model = DiT(block, size, **shape, switches=switches).to(DEVICE)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    exact_model = copy.deepcopy(model).double()
    x, t, y = torch.randn(2, 1, 4, 4), torch.tensor([0.0, 500.0]), torch.tensor([0, 1])
    x, t, y = (each.to(DEVICE) for each in (x, t, y))
    monkeypatch.setattr(
        ops, "kernel_type", lambda given: None if given.dtype == torch.float64 else DTYPE
    )
    with torch.autocast(DEVICE, DTYPE, enabled=ON_GPU):
        ours = model(x, t, y).float()
    theirs = exact_model(x.double(), t.double(), y)
    tolerance = 0.1 if ON_GPU else 1e-5  # of two layers, not of one operation
    check([ours], [theirs], list(model.parameters()), list(exact_model.parameters()), tolerance)
