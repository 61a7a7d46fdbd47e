"""Gradients of parameters that are computed aside, against autograd's own."""

from contextlib import contextmanager

import pytest
import torch
from ditbench.models.aside import Aside
from ditbench.models.kernels.linear import Linear, LinearGelu

from ditbench.models import aside

ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
DTYPE = torch.bfloat16 if ON_GPU else torch.float32
ALL = slice(None)


class OneStream:
    """In the place of a GPU's streams: whatever is computed is there at once."""

    def wait_stream(self, stream):
        pass

    def wait_event(self, event):
        pass

    def record_event(self):
        pass


@pytest.fixture(autouse=True)
def streams(monkeypatch):
    torch.manual_seed(0)
    if not ON_GPU:
        monkeypatch.setattr(torch.cuda, "Stream", lambda _device: OneStream())
        monkeypatch.setattr(torch.cuda, "current_stream", OneStream)
        monkeypatch.setattr(torch.cuda, "stream", contextmanager(lambda _stream: iter([None])))


def draw(*shape):
    """Weights under which what goes in comes out about as large."""
    weight = torch.randn(*shape, device=DEVICE) * shape[-1] ** -0.5
    return weight.requires_grad_()


def gradients(parameters):
    """What they are now; they are forgotten."""
    found = [each.grad for each in parameters]
    for each in parameters:
        each.grad = None
    return found


def test_gradients_that_come_aside_are_those_that_do_not():
    parameters = [each for _ in range(5) for each in (draw(32, 32), draw(32))]
    x = torch.randn(512 if ON_GPU else 64, 32, device=DEVICE, dtype=DTYPE)

    def loss():
        layers = list(zip(parameters[::2], parameters[1::2], strict=True))
        h = x
        for weight, bias in [*layers, *layers]:  # each of them twice
            h = LinearGelu.apply(h, weight, bias)
        # Parts of several at once ...
        h = h + Linear.apply(h, slice(16), *parameters[:4:2], *parameters[1:4:2])
        h = h + Linear.apply(h, slice(16, None), *parameters[:4:2], *parameters[1:4:2])
        # ... weights that are results, and an operation that knows nothing of all this.
        h = Linear.apply(h, ALL, 2 * parameters[4], parameters[5])
        return h.float().square().mean() + sum(each.square().sum() for each in parameters)

    loss().backward()
    expected = gradients(parameters)
    beside = Aside(torch.device(DEVICE))
    for _ in range(3):
        with beside():
            loss().backward()
        for found, known in zip(gradients(parameters), expected, strict=True):
            # What is used twice is added up in another order.
            assert torch.linalg.vector_norm(found - known) < 1e-5 * torch.linalg.vector_norm(known)


def test_they_are_nowhere_before_the_end():
    weight, bias = draw(16, 16), draw(16)
    x = torch.randn(4, 16, device=DEVICE, dtype=DTYPE)
    with Aside(torch.device(DEVICE))():
        Linear.apply(x, ALL, weight, bias).float().sum().backward()
        assert weight.grad is None
    torch.testing.assert_close(bias.grad, torch.full_like(bias, 4))
    assert weight.grad is not None


def test_a_failing_backward_pass_leaves_nothing_behind():
    weight, bias = draw(64, 64), draw(64)
    x = draw(16, 64)
    x.register_hook(lambda grad: 1 / 0)
    beside = Aside(torch.device(DEVICE))
    with pytest.raises(ZeroDivisionError), beside():
        Linear.apply(x.to(DTYPE), ALL, weight, bias).float().sum().backward()
    with beside():
        pass
    assert weight.grad is None
    assert bias.grad is None
    assert not aside._active
