"""Gradients of parameters that a second stream computes, against autograd's own."""

from contextlib import contextmanager
from functools import partial

import pytest
import torch

from ditbench.kernels import linear as module
from ditbench.kernels.side_stream import SideStream

ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
DTYPE = torch.bfloat16 if ON_GPU else torch.float32
linear = partial(module.linear, dtype=DTYPE)


class OneStream:
    """Stands in for a GPU's streams: every result is there at once."""

    def wait_stream(self, stream):
        pass

    def wait_event(self, event):
        pass

    def record_event(self):
        pass


@pytest.fixture
def side(monkeypatch):
    torch.manual_seed(0)
    if not ON_GPU:
        monkeypatch.setattr(torch.cuda, "Stream", lambda _device: OneStream())
        monkeypatch.setattr(torch.cuda, "current_stream", OneStream)
        monkeypatch.setattr(torch.cuda, "stream", contextmanager(lambda _stream: iter([None])))
    return SideStream(torch.device(DEVICE))


class Layer(torch.autograd.Function):
    """A linear layer whose gradients come from a given side stream."""

    @staticmethod
    def forward(ctx, x, weight, bias, side):
        ctx.save_for_backward(x, weight)
        ctx.parameters, ctx.side = [weight, bias], side
        return torch.nn.functional.linear(x, weight, bias)

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        grads = ctx.side.gradients(ctx.parameters, lambda: [grad.T @ x, grad.sum(0)], (x, grad))
        return grad @ weight, *grads, None


def draw(*shape):
    """Weights under which the output is about as large as the input."""
    weight = torch.randn(*shape, device=DEVICE) * shape[-1] ** -0.5
    return weight.requires_grad_()


def gradients(parameters):
    """The current gradients, which are then cleared."""
    found = [each.grad for each in parameters]
    for each in parameters:
        each.grad = None
    return found


def test_gradients_are_those_of_autograd_also_where_weights_are_used_twice(side):
    layers = [(draw(64, 64), draw(64)) for _ in range(5)]
    parameters = [each for layer in layers for each in layer]
    x = torch.randn(512 if ON_GPU else 64, 64, device=DEVICE)

    def loss(layer):
        h = x
        for weight, bias in [*layers, *layers[1:3]]:  # two of them twice
            h = torch.tanh(layer(h, weight, bias))
        # Weights that are results of operations, and an operation on parameters themselves.
        h = layer(h, 2 * parameters[4], parameters[5])
        return h.square().mean() + sum(each.square().sum() for each in parameters)

    loss(torch.nn.functional.linear).backward()
    expected = gradients(parameters)
    for _ in range(3):
        loss(lambda *given: Layer.apply(*given, side)).backward()
        for found, known in zip(gradients(parameters), expected, strict=True):
            assert torch.linalg.vector_norm(found - known) < 1e-5 * torch.linalg.vector_norm(known)


def test_gradients_accumulate(side):
    weight, bias = draw(16, 16), draw(16)
    x = torch.randn(4, 16, device=DEVICE)
    for passes in (1, 2):
        Layer.apply(x, weight, bias, side).sum().backward()
        torch.testing.assert_close(bias.grad, torch.full_like(bias, 4 * passes))


def test_a_failing_backward_pass_does_no_harm_to_the_next(side):
    weight, bias, x = draw(16, 16), draw(16), draw(4, 16)
    hook = x.register_hook(lambda grad: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Layer.apply(x, weight, bias, side).sum().backward()
    hook.remove()
    gradients([weight, bias])
    Layer.apply(x, weight, bias, side).sum().backward()
    torch.testing.assert_close(bias.grad, torch.full_like(bias, 4))
    torch.testing.assert_close(weight.grad, x.detach().sum(0).expand(16, 16))


@pytest.mark.skipif(not ON_GPU, reason="no CUDA device")
def test_the_linear_layer_s_gradients_come_from_the_side_stream(monkeypatch):
    torch.manual_seed(0)
    used = []
    side = module.side_stream(torch.device("cuda", 0))
    compute = side.gradients
    monkeypatch.setattr(side, "gradients", lambda *given: (used.append(1), compute(*given))[1])
    x, weight, bias = torch.randn(4096, 512, device=DEVICE), draw(512, 512), draw(512)
    linear(x, weight, bias).float().square().sum().backward()
    assert used
    found = gradients([weight, bias])
    torch.nn.functional.linear(x, weight, bias).square().sum().backward()
    for one, two in zip(found, gradients([weight, bias]), strict=True):
        assert (one - two).norm() < 1e-2 * two.norm()
