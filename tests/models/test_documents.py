"""What the documents say of strategies, held against the code."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from ditbench.models import blocks as registry
from ditbench.models.blocks import block_class, block_names, group_names
from ditbench.models.cost import count
from ditbench.models.dit import DiT
from ditbench.models.sizes import ModelSize, parse_model

DOCS = Path(__file__).parents[2] / "docs"
STRATEGIES = (DOCS / "strategies.md").read_text("utf-8")


def rows():
    """The cells of the table of strategies, by block."""
    lines = re.findall(r"^\| `([\w-]+)` \|(.*) \|$", STRATEGIES, re.MULTILINE)
    cells = {name: [cell.strip() for cell in rest.split("|")] for name, rest in lines}
    return {name: found for name, found in cells.items() if len(found) == 8}


def test_every_strategy_has_a_row_and_a_section_with_a_diagram():
    assert list(rows()) == block_names()
    sections = dict(
        re.findall(r"^### `([\w-]+)`\n(.*?)(?=^##)", STRATEGIES, re.DOTALL | re.MULTILINE)
    )
    assert sections.keys() == set(block_names())
    assert all("```mermaid" in text and "When:" in text for text in sections.values())
    assert all(f"`{group}`" in STRATEGIES for group in group_names())


@pytest.mark.parametrize("block", block_names())
def test_a_row_says_what_the_strategy_says_and_costs(block):
    _how, final, own, start, *costs = rows()[block]
    strategy = block_class(block)
    assert final.startswith("adaptive" if strategy.adaptive_final_layer else "plain")
    assert bool(own) == (strategy.own_tokens != "none")
    assert start == strategy.starts_as
    for size, told in zip(("S/2", "XL/2"), (costs[:2], costs[2:]), strict=True):
        cost = count(
            block_class(block), name=block, size=parse_model(size), height=32, width=32, channels=4
        )
        assert told == [f"{cost.parameters / 1e6:.1f}", f"{cost.gmacs:.2f}"], size


def test_the_example_of_a_new_strategy_is_one(monkeypatch):
    text = (DOCS / "your-own.md").read_text("utf-8")
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    assert len(code.splitlines()) < 40
    module = ModuleType("example")
    exec(code, vars(module))
    monkeypatch.setitem(sys.modules, "example", module)
    monkeypatch.setitem(registry._LOCATIONS, "mine", "example:ClassGateBlock")
    size = ModelSize(hidden_size=32, depth=2, num_heads=4, patch_size=2)
    shape = {"height": 8, "width": 8, "channels": 1, "out_channels": 1, "num_classes": 10}
    model = DiT("mine", size, **shape)
    tokens = torch.randn(3, 16, 32)
    told = module.ClassGateBlock
    c = type("Told", (), {"c": torch.randn(3, 32)})
    assert torch.equal(told.chain(list(model.blocks), tokens, c), tokens)
    for weight in model.parameters():
        weight.data.normal_(std=0.1)
    model(torch.randn(3, 1, 8, 8), torch.zeros(3), torch.arange(3)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in model.parameters())
