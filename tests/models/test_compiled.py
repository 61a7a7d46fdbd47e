"""Every strategy as one graph of torch.compile: no break, and the same numbers."""

import pytest
import torch

from ditbench.models.dit import DiT
from ditbench.models.registry import block_class, block_names
from ditbench.models.sizes import ModelSize


@pytest.mark.slow
@pytest.mark.parametrize("block", block_names())
def test_a_model_is_one_graph(block):
    torch._dynamo.reset()
    size = ModelSize(hidden_size=32, depth=4, num_heads=4, patch_size=2)
    model = DiT(
        block_class(block), size, height=8, width=8, channels=1, out_channels=2, num_classes=10
    )
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=draws))
    inputs = torch.randn(4, 1, 8, 8, generator=draws), torch.arange(4.0), torch.arange(4)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*inputs), model(*inputs))
