"""Gradients of parameters that a second stream computes, against autograd's own."""

import math
from contextlib import contextmanager
from functools import partial

import pytest
import torch

from ditbench.kernels import backward
from ditbench.kernels import linear as module
from ditbench.kernels.side_stream import SideStream

ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
DTYPE = torch.bfloat16 if ON_GPU else torch.float32
linear = partial(module.linear, dtype=DTYPE)


class LateStream:
    """A second stream without a GPU: its results are NaN until another one waits for it."""

    def __init__(self, _device=None):
        self.late = []

    def hide(self, results):
        self.late += [(each.detach(), each.clone()) for each in results]
        for each in results:
            each.fill_(math.nan)

    def record_event(self):
        return self

    def wait_stream(self, stream):
        for place, value in stream.late:
            place.copy_(value)
        stream.late.clear()

    wait_event = wait_stream


@pytest.fixture
def side(monkeypatch):
    torch.manual_seed(0)
    if not ON_GPU:
        current = [LateStream()]

        @contextmanager
        def stream(other):
            current.append(other)
            yield
            current.pop()

        monkeypatch.setattr(torch.cuda, "Stream", LateStream)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: current[-1])
        monkeypatch.setattr(torch.cuda, "stream", stream)
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

        def compute():
            grads = [grad.T @ x, grad.sum(0)]
            if (stream := torch.cuda.current_stream()) is ctx.side.stream and not ON_GPU:
                stream.hide(grads)
            return grads

        return grad @ weight, *ctx.side.gradients(ctx.parameters, compute, (x, grad)), None


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


@pytest.mark.parametrize("used", ["in layers", "in a penalty too", "by hooks too"])
def test_gradients_are_those_of_autograd_however_weights_are_used(side, used):
    layers = [(draw(64, 64), draw(64)) for _ in range(5)]
    parameters = [each for layer in layers for each in layer]
    x = torch.randn(512 if ON_GPU else 64, 64, device=DEVICE)
    for each in parameters[::2] if used == "by hooks too" else []:
        each.register_hook(lambda grad: 3 * grad)

    def loss(layer):
        h = x
        for weight, bias in [*layers, *layers[1:3]]:  # two of them twice
            h = torch.tanh(layer(h, weight, bias))
        # Weights that are results of operations.
        value = layer(h, 2 * parameters[4], parameters[5]).square().mean()
        if used == "in a penalty too":
            value = value + sum(each.square().sum() for each in parameters)
        return value

    loss(torch.nn.functional.linear).backward()
    expected = gradients(parameters)
    for _ in range(3):
        side.backward(loss(lambda *given: Layer.apply(*given, side)))
        for found, known in zip(gradients(parameters), expected, strict=True):
            assert torch.linalg.vector_norm(found - known) < 1e-5 * torch.linalg.vector_norm(known)


def test_gradients_accumulate(side):
    weight, bias = draw(16, 16), draw(16)
    x = torch.randn(4, 16, device=DEVICE)
    for passes in (1, 2):
        side.backward(Layer.apply(x, weight, bias, side).sum())
        torch.testing.assert_close(bias.grad, torch.full_like(bias, 4 * passes))


def test_gradients_of_a_plain_backward_pass_are_right(side):
    weight, bias, x = draw(16, 16), draw(16), draw(4, 16)
    Layer.apply(x, weight, bias, side).sum().backward()
    torch.testing.assert_close(bias.grad, torch.full_like(bias, 4))


def test_a_failing_backward_pass_does_no_harm_to_the_next(side):
    weight, bias, x = draw(16, 16), draw(16), draw(4, 16)
    hook = x.register_hook(lambda grad: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        side.backward(Layer.apply(x, weight, bias, side).sum())
    hook.remove()
    gradients([weight, bias])
    side.backward(Layer.apply(x, weight, bias, side).sum())
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
    backward(linear(x, weight, bias).float().square().sum())
    assert used
    found = gradients([weight, bias])
    torch.nn.functional.linear(x, weight, bias).square().sum().backward()
    for one, two in zip(found, gradients([weight, bias]), strict=True):
        assert (one - two).norm() < 1e-2 * two.norm()
