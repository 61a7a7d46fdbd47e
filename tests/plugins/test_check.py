"""`check_block`: correct blocks pass, and each kind of mistake is named."""

import pytest

from ditbench.models.registry import block_names
from ditbench.plugins.check import CHECKS, FIRST, check_block

HEADER = """
import torch
import torch.nn.functional as F
from torch import nn
from ditbench.models.blocks.adaln_zero import AdaLNZeroBlock
from ditbench.models.blocks.base import Block
from ditbench.models.blocks.in_context import InContextBlock
from ditbench.models.blocks.plain import PlainBlock
from ditbench.models.init import zero
from ditbench.models.ops import norm

"""
FIRST_LINE = HEADER.count("\n") + 1
FORWARD = "    def forward(self, x, c):\n"
INIT = "    def __init__(self, spec, index):\n        super().__init__(spec, index)\n"


def block(base, *lines, start=FORWARD):
    """The text of a subclass, whose forward, or other start, continues with these lines."""
    return f"class Mine({base}):\n{start}" + "".join(f"        {line}\n" for line in lines)


@pytest.fixture
def quick(monkeypatch):
    """All checks but the one that takes seconds."""
    for slow in ("compile", "cost"):
        monkeypatch.delitem(CHECKS, slow)


@pytest.fixture
def check(tmp_path):
    """The outcomes of a class, which is written below the imports above, by check."""

    def check(text):
        path = tmp_path / "mine.py"
        path.write_text(HEADER + text)
        return {outcome.check: outcome for outcome in check_block(f"{path}:Mine")}

    return check


@pytest.mark.parametrize("name", block_names())
def test_ditbench_s_own_blocks_pass(name, quick):
    assert [(each.check, each.detail) for each in check_block(name) if not each.ok] == []


def test_a_block_of_torch_s_own_operations_passes_every_check(check):
    """It uses nothing of ditbench but the class `Block` and its two layers."""
    outcomes = check(
        "class Mine(Block):\n    starts_as = 'identity'\n    initial = (('*gates*', zero),)\n"
        + INIT
        + "        D = spec.hidden_size\n        self.shifts = nn.Linear(D, 2 * D)\n"
        "        self.gates = nn.Linear(D, 2 * D)\n"
        + FORWARD
        + "        c = F.silu(c.vector).unsqueeze(1)\n        D = x.shape[-1:]\n"
        "        shift, scale = self.shifts(c).chunk(2, -1)\n"
        "        gate1, gate2 = self.gates(c).chunk(2, -1)\n"
        "        x = x + gate1 * self.attn(F.layer_norm(x, D) * (1 + scale) + shift)\n"
        "        return x + gate2 * self.mlp(F.layer_norm(x, D))\n"
    )
    assert list(outcomes) == list(CHECKS)
    assert all(each.ok and each.detail and not each.help for each in outcomes.values()), outcomes
    assert outcomes["start"].detail == "starts as the identity"
    assert outcomes["conditioning"].detail == "t is read, c is read"
    assert all(len(f"{'ok':7} {each.check:13} {each.detail}") <= 80 for each in outcomes.values())


def test_conditioning_of_the_final_layer_alone_is_reported(check, quick):
    outcomes = check("class Mine(PlainBlock):\n    adaptive_final_layer = True\n")
    assert outcomes["conditioning"].detail == (
        "t is read by the final layer only, c is read by the final layer only"
    )


ATTEND, MLP = "x = x + self.attn(norm(x))", "return x + self.mlp(norm(x))"
BROKEN = {
    "a tuple for a tensor": (
        "shapes", block("PlainBlock", "return x, c"), "forward returns tuple, expected (5, 24, 32)"
    ),
    "nothing that is returned": (
        "shapes", block("PlainBlock", "pass"), "forward returns NoneType, expected (5, 24, 32)"
    ),
    "other shapes": (
        "shapes",
        block("InContextBlock", "return torch.cat([x, x], 1)"),
        "forward returns (5, 52, 32), expected (5, 26, 32)",
    ),
    "a product that does not fit": (
        "shapes",
        block("PlainBlock", "x = norm(x)", "return x @ torch.ones(7, 7)"),
        f"mine.py:{FIRST_LINE + 3}: RuntimeError: ",
    ),
    "tokens that are lost": (
        "shapes",
        "class Mine(InContextBlock):\n    @classmethod\n    def run_blocks(cls, blocks, x, c):\n"
        "        return super().run_blocks(blocks, x, c)[:, 3:]\n",
        "the blocks return (5, 23, 32), expected (5, 24, 32)",
    ),
    "a timestep that it says not to read": (
        "shapes",
        block("AdaLNZeroBlock", "return x + c.t[:, None]",
              start="    reads_timestep = False\n" + FORWARD),
        "this block does not read the timestep: it declares reads_timestep = False",
    ),
    "no rule for a parameter": (
        "shapes",
        block("InContextBlock", "self.extra = nn.Parameter(torch.ones(3))", start=INIT),
        "no rule initialises blocks.0.extra",
    ),
    "a buffer that nothing sets": (
        "weights",
        block("InContextBlock", "self.register_buffer('k', torch.ones(3))", start=INIT),
        "blocks.0.k is not set",
    ),
    "a rule that matches nothing": (
        "weights",
        block("AdaLNZeroBlock", start="    initial = (('*adaln*', lambda w, d: w.zero_()),)\n"),
        "`initial` names '*adaln*', which matches no parameter",
    ),
    "a rule with draws of its own": (
        "weights",
        block("InContextBlock", start="    initial = (('*fc1*', lambda w, d: w.normal_()),)\n"),
        "starts differently each time",
    ),
    "an identity that says otherwise": (
        "start",
        block("AdaLNZeroBlock", start="    starts_as = 'random'\n"),
        "tokens do not change, and starts_as is 'random'",
    ),
    "no identity that says so": (
        "start",
        block("InContextBlock", start="    starts_as = 'identity'\n"),
        "tokens change by up to",
    ),
    "a parameter that nothing reads": (
        "gradients",
        block("InContextBlock", "self.extra = nn.Linear(4, 4)", start=INIT),
        "blocks.0.extra.weight gets no gradient in a model of 1 block",
    ),
    "conditioning that is not read": (
        "conditioning",
        block("PlainBlock", start="    reads_class = False\n"),
        "reads_timestep is True, and t does not change the output",
    ),
    "dropout": (
        "determinism",
        block("InContextBlock",
              "x = x + torch.dropout(self.attn(norm(x)), 0.5, self.training)", MLP),
        "the output differs in training mode",
    ),
    "noise": (
        "determinism",
        block("InContextBlock", ATTEND, MLP + " + torch.randn_like(x)"),
        "the same input has two outputs",
    ),
    "images that are mixed": (
        "determinism",
        block("InContextBlock", ATTEND + " - x.mean(0, keepdim=True)", MLP),
        "an image's output depends on the other images of its batch",
    ),
    "float32 between float64": (
        "float64",
        block("InContextBlock", "x = x + self.attn(norm(x) @ torch.eye(x.shape[-1]))", MLP),
        f"mine.py:{FIRST_LINE + 2}: RuntimeError",
    ),
    "tokens in bf16": (
        "bf16",
        block("InContextBlock", ATTEND, "h = self.mlp(norm(x))", "return x.to(h.dtype) + h"),
        "the tokens after the blocks are torch.bfloat16",
    ),
    "one parameter twice": (
        "checkpoint",
        block("InContextBlock", "self.twin = self.attn", start=INIT),
        "Some tensors share memory",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_mistake_is_named(case, check, quick):
    failing, text, words = BROKEN[case]
    outcome = check(text)[failing]
    assert not outcome.ok
    assert words in outcome.detail
    assert "\n" not in outcome.detail
    assert outcome.help


def test_what_cannot_be_counted_or_compiled(check):
    """A branch on a value: it has none on the meta device, and makes two graphs of one."""
    outcomes = check(block("InContextBlock", "if x.sum() > 0:", "    x = x * 2", ATTEND, MLP))
    line = f"mine.py:{FIRST_LINE + 2}: "
    assert line in outcomes["cost"].detail
    assert line in outcomes["compile"].detail
    assert "branch" in outcomes["compile"].detail.lower()


@pytest.mark.parametrize(
    "text",
    [
        block("PlainBlock", "return 1 / 0"),
        block("PlainBlock", "return x + torch.nan"),
        block("PlainBlock", "return F.dropout(x)"),
    ],
)
def test_what_the_other_checks_need_ends_the_list(text, check, quick):
    """So one mistake is one failure, and no check blames something else."""
    outcomes = list(check(text).values())
    assert [each.ok for each in outcomes] == [True] * (len(outcomes) - 1) + [False]
    assert outcomes[-1].check in FIRST


@pytest.mark.parametrize(
    ("text", "failing", "hint"),
    [
        ("class Mine(PlainBlock):\n    def __init__(self, spec, index):\n"
         "        self.extra = nn.Linear(4, 4)\n", "shapes", "begins with super().__init__"),
        (block("InContextBlock", "x += self.attn(norm(x))", MLP), "gradients", "not x += h"),
        (block("PlainBlock", "return x + c.vec"), "shapes", "c.vector are (N, D)"),
    ],
)  # fmt: skip
def test_the_hint_is_about_the_mistake(text, failing, hint, check, quick):
    outcome = check(text)[failing]
    assert not outcome.ok
    assert hint in outcome.help
