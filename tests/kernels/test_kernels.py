"""Each kernel against torch in float64: on a GPU in bf16, elsewhere interpreted in float32."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from ditbench import kernels
from ditbench.kernels.residual import PendingSum, Residual
from ditbench.models.dit import DiT
from ditbench.models.ops import PLAIN, linear_gelu
from ditbench.models.registry import block_class, block_names
from ditbench.models.sizes import ModelSize
from ditbench.training.device.recompute import recomputed

ON_GPU = torch.cuda.is_available()  # elsewhere tests/conftest.py has them interpreted
DEVICE = "cuda" if ON_GPU else "cpu"
DTYPE = torch.bfloat16 if ON_GPU else torch.float32
TOLERANCE = 1e-2 if ON_GPU else 2e-6
NARROW = torch.bfloat16 if ON_GPU else torch.float16  # of a residual stream
OPS = kernels.kernel_ops(DTYPE)


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
    check([OPS.attention(qkv, h)], [expected], [qkv], [wide])


@pytest.mark.parametrize(("N", "T", "h", "d"), SHAPES)
@pytest.mark.parametrize("S", [2, 17])
def test_cross_attention(N, T, h, d, S):
    q, kv = draw(N, T, h * d), draw(N, S, 2 * h * d)
    wide = [exact(q), exact(kv)]
    keys, values = wide[1].unflatten(-1, (2, h, d)).permute(2, 0, 3, 1, 4)
    queries = wide[0].unflatten(-1, (h, d)).transpose(1, 2)
    expected = F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2)
    check([OPS.cross_attention(q, kv, h)], [expected], [q, kv], wide)


FLAGS = [
    (add, gate, norm, modulate)
    for add in (False, True)
    for gate in (False, True)
    for norm in (None, "layer", "rms")
    for modulate in ("", "shift", "scale", "shift and scale")
    if (add or norm) and (add or not gate) and (norm or not modulate)
]


@pytest.mark.parametrize(("add", "gate", "norm", "modulate"), FLAGS)
@pytest.mark.parametrize(
    ("N", "T", "D", "stream", "tolerance"),
    [(3, 10, 96, torch.float32, TOLERANCE), (1, 64, 40, NARROW, 1e-2 if ON_GPU else 2e-3)],
)
def test_residual(N, T, D, stream, tolerance, add, gate, norm, modulate):
    x, h, vectors = draw(N, T, D, dtype=stream), draw(N, T, D), draw(N, 6, 1, D)
    given = [x] + [h] * add + [vectors] * bool(gate or modulate)
    wide = [exact(each) for each in given]

    def parts(vectors):
        gates, shift, scale = vectors.unbind(1)[:3]
        given = (gate, gates), ("shift" in modulate, shift), ("scale" in modulate, scale)
        return [vector if is_given else None for is_given, vector in given]

    chosen = parts(vectors)
    ours = Residual.apply(x, h if add else None, *chosen, norm, DTYPE)
    wide_gate, shift, scale = parts(wide[-1]) if gate or modulate else (None, None, None)
    total = wide[0]
    if add:
        total = total + (wide[1] if wide_gate is None else wide_gate * wide[1])
    exact_norm = {"layer": F.layer_norm, "rms": F.rms_norm}.get(norm)
    out = exact_norm(total, (D,), eps=1e-6) if norm else None
    out = out if scale is None else out * (1 + scale)
    out = out if shift is None else out + shift
    theirs = [each for each in (total if add else None, out) if each is not None]
    check([each for each in ours if each is not None], theirs, given, wide, tolerance)


def draw_weights(*shape):
    return draw(*shape, dtype=torch.float32)


@pytest.mark.parametrize("with_bias", [True, False])
def test_linear(with_bias):
    given = [draw(3, 100, 24), draw_weights(136, 24)] + [draw_weights(136)] * with_bias
    wide = [exact(each) for each in given]
    check([OPS.linear(*given)], [F.linear(*wide)], given, wide)


def test_linear_with_gelu():
    given = [draw(3, 100, 24), draw_weights(136, 24), draw_weights(136)]
    wide = [exact(each) for each in given]
    expected = linear_gelu(*wide)
    check([OPS.linear_gelu(*given)], [expected], given, wide)
    with torch.no_grad():  # where the input of the GELU is not kept
        alone = OPS.linear_gelu(*given)
    assert (alone.double() - expected).norm() <= TOLERANCE * expected.norm()


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_sums_wait_for_the_next_norm(kind):
    """Two branches and a last norm, and vectors whose strides differ, against plain operations."""
    x, h, vectors = draw_weights(3, 10, 96), draw(2, 3, 10, 96), draw(3, 6, 1, 96)
    others = [draw(3, 1, 96), draw_weights(96)]
    given = [x, h, vectors, *others]
    wide = [exact(each) for each in given]

    def two_branches(ops, x, h, vectors, other, gain):
        shift1, scale1, gate1, shift2, scale2, gate2 = vectors.unbind(1)
        y1 = ops.norm(x, shift1, scale1, kind)
        x = ops.add(x, h[0] * y1, gate1)
        y2 = ops.norm(x, shift2, scale2, kind)
        x = ops.add(x, h[1] * y2, gate2)
        x = ops.add(x, ops.norm(x, kind=kind), other)
        return ops.norm(x, other, gain, kind), x + 0

    tolerance = 3 * TOLERANCE
    check(two_branches(OPS, *given), two_branches(PLAIN, *wide), given, wide, tolerance)


def test_a_pending_sum_behaves_like_its_tensor():
    x, h = draw_weights(2, 3, 16), draw(2, 3, 16)
    total = (x + h).detach()

    def pending():
        return OPS.add(x, h)

    assert isinstance(pending(), PendingSum)
    same = [
        (pending()[:, :2], total[:, :2]),
        (torch.cat([pending(), x], dim=1), torch.cat([total, x], dim=1)),
        (F.layer_norm(pending(), (16,)), F.layer_norm(total, (16,))),
        (2 * pending() - x, 2 * total - x),
        (x + pending(), x + total),
        (pending().mean(1), total.mean(1)),
        (torch.stack([*pending()]), total),
        (pending() @ torch.ones(16, 1, device=DEVICE), total @ torch.ones(16, 1, device=DEVICE)),
        (-pending() / 2, -total / 2),
    ]
    for found, expected in same:
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    assert pending().shape == total.shape
    assert pending().dtype == torch.float32
    assert len(pending()) == 2


SIZE = ModelSize(hidden_size=32, depth=2, num_heads=2, patch_size=2)
SHAPE = {"height": 4, "width": 4, "channels": 1, "out_channels": 1, "num_classes": 3}
SWITCHED = {"qk_norm": True, "norm": "rms", "registers": 2}


def random_models(block, ops=OPS, **switches):
    """A model with other operations, and its twin in float64 with the plain ones."""
    models = [DiT(block, SIZE, **SHAPE, ops=each, **switches).to(DEVICE) for each in (ops, PLAIN)]
    with torch.no_grad():
        for weight in models[0].parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    models[1].load_state_dict(models[0].state_dict())
    return models[0], models[1].double()


def inputs():
    x, t, y = torch.randn(2, 1, 4, 4), torch.tensor([0.0, 500.0]), torch.tensor([0, 1])
    return [each.to(DEVICE) for each in (x, t, y)]


RECOMPUTED = {**SWITCHED, "ops": replace(OPS, call=recomputed)}
SOME = ("in-context", "cross-attention", "adaln-zero", "u-vit")


# Which kernels a model uses depends on the switches, and how on the block.
@pytest.mark.parametrize(
    ("block", "switches"),
    [
        *((block, RECOMPUTED if block in SOME else SWITCHED) for block in block_names()),
        *((block, {}) for block in SOME),
    ],
)
def test_a_model_of_kernels_is_the_plain_one(block, switches):
    model, plain = random_models(block_class(block), **switches)
    x, t, y = inputs()
    with torch.autocast(DEVICE, DTYPE, enabled=ON_GPU):
        ours = model(x, t, y).float()
    theirs = plain(x.double(), t.double(), y)
    tolerance = 0.1 if ON_GPU else 1e-5  # of two blocks, not of one operation
    check([ours], [theirs], list(model.parameters()), list(plain.parameters()), tolerance)


@pytest.mark.parametrize("block", ["in-context", "adaln-zero", "joint", "u-vit"])
def test_a_model_of_kernels_with_a_narrow_residual_stream_is_the_plain_one(block):
    model, plain = random_models(block_class(block), residual=NARROW, registers=1)
    plain.residual = None
    x, t, y = inputs()
    with torch.autocast(DEVICE, DTYPE, enabled=ON_GPU):
        ours = model(x, t, y).float()
    theirs = plain(x.double(), t.double(), y)
    tolerance = 0.1 if ON_GPU else 1e-2
    check([ours], [theirs], list(model.parameters()), list(plain.parameters()), tolerance)


class PlainlyWritten(block_class("adaln-zero")):
    """adaLN-Zero by torch's operations alone, as a user may write it."""

    def forward(self, x, c):
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(c.vector)
        y = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale1) + shift1
        x = x + gate1 * self.attn(y)
        y = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale2) + shift2
        return x + gate2 * self.mlp(y)


def test_a_block_of_torch_s_operations_runs_by_kernels_too():
    model, plain = random_models(PlainlyWritten)
    twin = DiT(block_class("adaln-zero"), SIZE, **SHAPE).to(DEVICE).double()
    twin.load_state_dict(plain.state_dict())
    x, t, y = inputs()
    with torch.autocast(DEVICE, DTYPE, enabled=ON_GPU):
        ours = model(x, t, y).double()
    expected = twin(x.double(), t.double(), y)
    assert (ours - expected).norm() < (0.05 if ON_GPU else 1e-5) * expected.norm()
    torch.testing.assert_close(plain(x.double(), t.double(), y), expected)


def test_what_keeps_kernels_from_running_is_said():
    assert kernels.unavailable_reason(torch.device("cpu")) == "they need an NVIDIA GPU"
