"""`check_block`: strategies that keep to it pass, and each way not to is named."""

import pytest
import torch

from ditbench.models.registry import block_names
from ditbench.plugins.check import CHECKS, check_block

HEADER = """
import torch
from torch import nn
from ditbench.models.blocks.adaln_zero import AdaLNZeroBlock
from ditbench.models.blocks.base import Block
from ditbench.models.blocks.in_context import InContextBlock
from ditbench.models.blocks.plain import PlainBlock
from ditbench.models.layers import regress
from ditbench.models.stream import Stream

"""
FIRST_LINE = HEADER.count("\n") + 1


@pytest.fixture
def quick(monkeypatch):
    """All checks but the one that takes seconds."""
    for slow in ("compile", "cost"):
        monkeypatch.delitem(CHECKS, slow)


@pytest.fixture
def failures(tmp_path):
    """The failed checks of a class, which is written below the imports above."""

    def find(text):
        path = tmp_path / "mine.py"
        path.write_text(HEADER + text)
        return {each.check: each for each in check_block(f"{path}:Mine") if not each.ok}

    return find


@pytest.mark.parametrize("name", block_names())
def test_ditbench_s_own_strategies_keep_to_it(name, quick):
    assert [(each.check, each.detail) for each in check_block(name) if not each.ok] == []


def test_all_checks_of_one_strategy():
    outcomes = list(check_block("adaln-zero"))
    assert [each.check for each in outcomes] == list(CHECKS)
    assert all(each.ok and each.detail and not each.hint for each in outcomes), outcomes
    details = {each.check: each.detail for each in outcomes}
    assert details["start"] == "starts as the identity"
    assert details["conditioning"] == "t is read, c is read"


def test_what_only_the_final_layer_is_told_is_said(failures, tmp_path, quick):
    (tmp_path / "late.py").write_text(
        HEADER + "class Mine(PlainBlock):\n    adaptive_final_layer = True\n"
    )
    details = {each.check: each.detail for each in check_block(f"{tmp_path}/late.py:Mine")}
    assert details["conditioning"] == (
        "t is read (by the final layer alone), c is read (by the final layer alone)"
    )


def misfit(*shapes):
    """What torch says of a product that does not fit: not every release says it alike."""
    with pytest.raises(RuntimeError) as caught:
        torch.mm(*(torch.ones(shape) for shape in shapes))
    return str(caught.value)


BROKEN = {
    "a tensor for a stream": (
        "shapes",
        "class Mine(Block):\n    def forward(self, x, told):\n        return x.tokens()\n",
        f"mine.py:{FIRST_LINE + 1}: forward returns a Tensor (5, 24, 32), expected a Stream",
    ),
    "other shapes": (
        "shapes",
        "class Mine(InContextBlock):\n    def forward(self, x, told):\n        x, y = x.norm()\n"
        "        return Stream(torch.cat([x.tokens(), y], 1))\n",
        "forward returns tokens (5, 52, 32), expected (5, 26, 32)",
    ),
    "a product that does not fit": (
        "shapes",
        "class Mine(PlainBlock):\n    def forward(self, x, told):\n        x, y = x.norm()\n"
        "        return x.add(y @ torch.ones(7, 7))\n",
        f"mine.py:{FIRST_LINE + 3}: RuntimeError: {misfit((120, 32), (7, 7))}",
    ),
    "a chain that drops tokens": (
        "shapes",
        "class Mine(InContextBlock):\n    @classmethod\n    def chain(cls, blocks, x, c):\n"
        "        return super().chain(blocks, x, c)[:, 1:]\n",
        "tokens of 32x4x4/2 on 5 x 12x8x3: expected (5, 24, 32), received (5, 23, 32)",
    ),
    "too little prepared": (
        "shapes",
        "class Mine(AdaLNZeroBlock):\n    @classmethod\n    def prepare(cls, blocks, c):\n"
        "        return super().prepare(blocks, c)[:1]\n",
        "prepare gives 1 things, expected one for each of 4 blocks",
    ),
    "told what it says not to read": (
        "shapes",
        "class Mine(AdaLNZeroBlock):\n    reads_timestep = False\n    @classmethod\n"
        "    def prepare(cls, blocks, c):\n        return regress([], c.t)\n",
        "this strategy is not told the timestep: it declares reads_timestep = False",
    ),
    "no rule for a parameter": (
        "weights",
        "class Mine(InContextBlock):\n    def __init__(self, spec, index):\n"
        "        super().__init__(spec, index)\n        self.extra = nn.Parameter(torch.ones(3))\n",
        "same as shapes",
    ),
    "a buffer that nobody fills": (
        "weights",
        "class Mine(InContextBlock):\n    def __init__(self, spec, index):\n"
        "        super().__init__(spec, index)\n        self.register_buffer('k', torch.ones(3))\n",
        "blocks.0.k is not set",
    ),
    "a rule that sets nothing": (
        "weights",
        "class Mine(AdaLNZeroBlock):\n    initial = (('*adaln*', lambda w, d: w.zero_()),)\n",
        "`initial` names '*adaln*', and no parameter is called so",
    ),
    "a rule with draws of its own": (
        "weights",
        "class Mine(InContextBlock):\n    initial = (('*fc1*', lambda w, d: w.normal_()),)\n",
        "starts otherwise each time",
    ),
    "an identity that says otherwise": (
        "start",
        "class Mine(AdaLNZeroBlock):\n    starts_as = 'random'\n",
        "at the start tokens do not change, and starts_as says 'random'",
    ),
    "no identity that says so": (
        "start",
        "class Mine(InContextBlock):\n    starts_as = 'identity'\n",
        "at the start tokens change by up to",
    ),
    "a parameter that nothing reads": (
        "gradients",
        "class Mine(InContextBlock):\n    def __init__(self, spec, index):\n"
        "        super().__init__(spec, index)\n        self.extra = nn.Linear(4, 4)\n",
        "blocks.0.extra.weight gets no gradient in a model of 1 block",
    ),
    "conditioning that is not read": (
        "conditioning",
        "class Mine(PlainBlock):\n    reads_class = False\n",
        "reads_timestep is True, and t does not change the output",
    ),
    "dropout": (
        "determinism",
        "class Mine(InContextBlock):\n    def forward(self, x, told):\n        x, y = x.norm()\n"
        "        y = torch.dropout(self.attn(y), 0.5, self.training)\n"
        "        return x.add(y).add(self.mlp(y))\n",
        "in training mode the output is another",
    ),
    "noise": (
        "determinism",
        "class Mine(InContextBlock):\n    def forward(self, x, told):\n        x, y = x.norm()\n"
        "        y = self.attn(y) + torch.randn_like(y)\n        return x.add(self.mlp(y))\n",
        "the same input has two outputs",
    ),
    "images that are mixed": (
        "determinism",
        "class Mine(InContextBlock):\n    def forward(self, x, told):\n        x, y = x.norm()\n"
        "        y = self.attn(y) - y.mean(0, keepdim=True)\n        return x.add(self.mlp(y))\n",
        "an image's output depends on the others of its batch",
    ),
    "float32 in the midst of float64": (
        "float64",
        "class Mine(InContextBlock):\n    def forward(self, x, told):\n        x, y = x.norm()\n"
        "        y = self.attn(y @ torch.eye(y.shape[-1]))\n        return x.add(self.mlp(y))\n",
        "mine.py",
    ),
    "a residual stream in bf16": (
        "bf16",
        "class Mine(InContextBlock):\n    def forward(self, x, told):\n        x, y = x.norm()\n"
        "        y = self.attn(y)\n        return Stream(x.tokens().to(y.dtype) + self.mlp(y))\n",
        "the residual stream is torch.bfloat16",
    ),
    "vectors of several strides": (
        "kernels",
        "class Mine(AdaLNZeroBlock):\n    @classmethod\n    def prepare(cls, blocks, c):\n"
        "        return [(v[0], *(w.contiguous() for w in v[1:]))"
        " for v in super().prepare(blocks, c)]\n",
        "vectors of one stream have several strides",
    ),
    "one parameter twice": (
        "checkpoint",
        "class Mine(InContextBlock):\n    def __init__(self, spec, index):\n"
        "        super().__init__(spec, index)\n        self.twin = self.attn\n",
        "Some tensors share memory",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_promise_is_named(case, failures, quick):
    check, text, words = BROKEN[case]
    found = failures(text)
    assert check in found, found
    assert words in found[check].detail
    assert "\n" not in found[check].detail
    assert found[check].hint or "same as" in words


def test_what_is_counted_and_compiled(failures):
    """What torch cannot do without values: neither count a model nor make one graph of it."""
    found = failures(
        "class Mine(InContextBlock):\n    def forward(self, x, told):\n        x, y = x.norm()\n"
        "        if y.sum() > 0:\n            y = y * 2\n"
        "        return x.add(self.attn(y)).add(self.mlp(y))\n"
    )
    line = f"mine.py:{FIRST_LINE + 3}: "
    assert line in found["cost"].detail
    assert line in found["compile"].detail
    assert "branch" in found["compile"].detail.lower()


def test_one_mistake_is_told_once(failures, quick):
    found = failures(
        "class Mine(PlainBlock):\n    def forward(self, x, told):\n        return 1 / 0\n"
    )
    assert "ZeroDivisionError" in found["shapes"].detail
    assert {each.detail for name, each in found.items() if name != "shapes"} == {
        "the same as shapes"
    }
