"""Gradients of weights that are computed aside, against autograd's own."""

import pytest
import torch

from ditbench.models import ops
from ditbench.models.aside import Aside
from ditbench.models.layers import Mlp

pytestmark = pytest.mark.gpu


def gradients(loss, weights):
    loss().backward()
    found = [weight.grad for weight in weights]
    for weight in weights:
        weight.grad = None
    return found


def test_gradients_that_come_aside_are_those_that_do_not():
    torch.manual_seed(0)
    mlps = [Mlp(128, 4.0).cuda() for _ in range(6)]
    weights = [weight for mlp in mlps for weight in mlp.parameters()]
    x = torch.randn(4096, 128, device="cuda")

    def loss():
        with torch.autocast("cuda", torch.bfloat16):
            y = x
            for mlp in [*mlps, *mlps]:  # every weight is used twice
                y = mlp(y)
            # ... and these by an operation that knows nothing of all this.
            return y.square().mean() + sum(weight.square().sum() for weight in weights)

    expected = gradients(loss, weights)
    aside = Aside(torch.device("cuda"))
    for _ in range(3):
        with aside():
            loss().backward()
        found = [weight.grad for weight in weights]
        # What is used twice is added up in another order.
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
        for weight in weights:
            weight.grad = None


def test_a_failing_backward_pass_leaves_nothing_behind():
    weight = torch.randn(64, 64, device="cuda", requires_grad=True)
    bias = torch.zeros(64, device="cuda", requires_grad=True)
    x = torch.randn(16, 64, device="cuda", requires_grad=True)
    x.register_hook(lambda grad: 1 / 0)
    aside = Aside(torch.device("cuda"))
    with torch.autocast("cuda", torch.bfloat16), pytest.raises(ZeroDivisionError), aside():
        ops.linear(x, weight, bias).sum().backward()
    with aside():
        pass
    assert weight.grad is None
    assert bias.grad is None
