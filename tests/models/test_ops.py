"""The forms of GELU and attention that a compiler for a CPU is given: the same functions."""

import pytest
import torch
import torch.nn.functional as F

from ditbench.models import ops


@pytest.fixture
def compiled_for_cpu(monkeypatch):
    """What a compiler is given, computed without one."""
    monkeypatch.setattr(ops, "_is_compiled_for_cpu", lambda _x: True)


def test_gelu_and_its_gradient_are_torchs(compiled_for_cpu):
    x = torch.linspace(-12, 12, 997, dtype=torch.float64, requires_grad=True)
    ours, expected = ops._gelu(x), F.gelu(x, approximate="tanh")
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(each.sum(), x)[0] for each in (ours, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_gelu_is_finite_far_out(compiled_for_cpu):
    assert ops._gelu(torch.tensor([-1e4, 0.0, 1e4])).tolist() == [0, 0, 1e4]


@pytest.mark.parametrize("context", [2, 16])
def test_short_attention_is_torchs(compiled_for_cpu, monkeypatch, context):
    draws = torch.Generator().manual_seed(0)
    q = torch.randn(3, 4, 16, 8, generator=draws, dtype=torch.float64)
    k, v = torch.randn(2, 3, 4, context, 8, generator=draws, dtype=torch.float64)
    expected = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    monkeypatch.setattr(F, "scaled_dot_product_attention", None)  # it is not asked
    torch.testing.assert_close(ops._attend(q, k, v), expected)


@pytest.mark.parametrize("compiled", [True, False])
def test_torchs_attention_computes_long_ones_and_those_without_a_compiler(monkeypatch, compiled):
    monkeypatch.setattr(ops, "_is_compiled_for_cpu", lambda _x: compiled)
    tokens = 65 if compiled else 16  # 65 x 65 scores are more than MOST_SCORES
    called = []
    attention = F.scaled_dot_product_attention

    def spy(*arguments):
        called.append(1)
        return attention(*arguments)

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    ops._attend(*torch.randn(3, 1, 2, tokens, 4).unbind())
    assert called == [1]


def test_the_forms_are_for_compilers_on_a_cpu_alone():
    x = torch.zeros(1)
    assert not ops._is_compiled_for_cpu(x)

    def asked(x, other):
        return x + ops._is_compiled_for_cpu(x), x + ops._is_compiled_for_cpu(other)

    compiled = torch.compile(asked, backend="eager", fullgraph=True)
    cpu, meta = compiled(x, torch.zeros(1, device="meta"))
    assert (cpu.item(), meta.item()) == (1, 0)
