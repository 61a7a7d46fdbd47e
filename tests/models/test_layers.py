"""Attention, with and without normalised queries and keys."""

import copy

import pytest
import torch
from tiny import HEADS, D, N, T, randomized

from ditbench.models import ops
from ditbench.models.blocks.base import Spec
from ditbench.models.layers import Attention, CrossAttention

QK_NORM = Spec(D, HEADS, 4.0, 4, qk_norm=True)


def rms(x, gain):
    """By its formula."""
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * gain


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("kind", [Attention, CrossAttention])
def test_attention_by_its_formula_in_float64(kind, qk_norm):
    torch.manual_seed(0)
    layer = randomized(kind(Spec(D, HEADS, 4.0, 1, qk_norm=qk_norm))).double()
    x, context = torch.randn(N, T, D).double(), torch.randn(N, 2, D).double()
    read = x if kind is Attention else context
    weight, bias = layer.qkv.weight.chunk(3), layer.qkv.bias.chunk(3)
    q, k, v = (
        (source @ w.T + b).split(D // HEADS, -1)
        for source, w, b in zip((x, read, read), weight, bias, strict=True)
    )
    heads = []
    for one, two, three in zip(q, k, v, strict=True):
        if qk_norm:
            one, two = rms(one, layer.qkv.q_norm.weight), rms(two, layer.qkv.k_norm.weight)
        heads.append((one @ two.mT / (D // HEADS) ** 0.5).softmax(-1) @ three)
    expected = torch.cat(heads, -1) @ layer.proj.weight.T + layer.proj.bias
    given = (x,) if kind is Attention else (x, context)
    torch.testing.assert_close(layer(*given), expected)


def test_normalised_attention_in_half_precision_has_the_gradients_of_float64():
    """Queries and keys are normalised in float32 and passed on in the type that they came in."""
    torch.manual_seed(0)
    layer = randomized(Attention(QK_NORM))
    exact = copy.deepcopy(layer).double()
    x = torch.randn(N, T, D)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer.qkv(x).dtype == torch.bfloat16
        layer(x).float().square().sum().backward()
    exact(x.double()).square().sum().backward()
    for (name, one), two in zip(layer.named_parameters(), exact.parameters(), strict=True):
        assert one.grad.dtype == torch.float32
        # A bias of keys moves all scores of a query alike, were it not for the norm.
        assert (one.grad - two.grad).norm() <= 0.05 * two.grad.norm(), name


def test_scores_do_not_grow_with_the_weights_of_queries_and_keys():
    layer = randomized(Attention(QK_NORM))
    x = torch.randn(N, T, D)
    out = layer(x)
    with torch.no_grad():
        for part in (layer.qkv.weight, layer.qkv.bias):
            part[: 2 * D] *= 1000
    torch.testing.assert_close(layer(x), out, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("modulated", [False, True])
def test_the_rms_norm_and_its_gradients_are_torch_s(modulated):
    x, h, gate, shift, scale = torch.randn(5, 2, 7, D, dtype=torch.float64).unbind()
    x.requires_grad_()
    vectors = (shift[:, :1], scale[:, :1]) if modulated else ()
    out = ops.norm(ops.add(x, h, gate[:, :1]), *vectors, kind="rms")
    expected = torch.nn.RMSNorm(D, eps=1e-6, elementwise_affine=False)(x + gate[:, :1] * h)
    expected = expected * (1 + scale[:, :1]) + shift[:, :1] if modulated else expected
    torch.testing.assert_close(out, expected)
    weights = torch.linspace(-1, 1, D).double()
    found, wanted = (torch.autograd.grad((y * weights).sum(), x)[0] for y in (out, expected))
    torch.testing.assert_close(found, wanted)
