"""A control: a transformer block that reads neither timestep nor class."""

from __future__ import annotations

from ditbench.models.blocks.plain import PlainBlock


class UnconditionalBlock(PlainBlock):
    """A plain transformer block in a model without embedders of t and c: a lower bound."""

    summary = "neither t nor c: a control"
    formula = "x + Attn(LN x) → x + MLP(LN x)"
    source = "Peebles & Xie 2022, arXiv 2212.09748, §3.2, without conditioning"
    reads_timestep = False
    reads_class = False
