"""The loss after the model's output compiles into one graph, with the same numbers."""

import pytest
import torch
import torch._dynamo
from draws import normal, pixels, seeded

from ditbench.objectives import create_objective


@pytest.mark.parametrize(
    ("name", "options"), [("ddpm", {}), ("ddpm", {"learn_sigma": False}), ("flow", {})]
)
@torch._dynamo.config.patch(error_on_recompile=True)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_loss_compiles_once_and_without_a_break(name, options, dtype):
    torch._dynamo.reset()
    eager, compiled = create_objective(name, **options), create_objective(name, **options)
    compiled.loss = torch.compile(compiled.loss, fullgraph=True, dynamic=False, backend="aot_eager")
    x, y = pixels(4, 2, 4, 4), torch.arange(4)
    out = normal(4, eager.output_channels(2), 4, 4, seed=3).to(dtype)
    for seed in (0, 1):
        t, noise = eager.draw(x, seeded(seed))
        if name == "ddpm":
            t[0] = 0  # whose term has a formula of its own
        results = []
        for objective in (eager, compiled):
            leaf = out.clone().requires_grad_()
            loss = objective.loss_at(lambda *_, leaf=leaf: leaf, x, y, t, noise)
            loss.backward()
            results.append((loss.detach(), leaf.grad))
        torch.testing.assert_close(results[1], results[0], rtol=1e-6, atol=1e-7)
