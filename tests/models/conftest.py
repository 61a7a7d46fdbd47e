"""Tokens and conditioning in float64, for blocks against their formulas."""

import pytest
from tiny import tokens

from ditbench.models.blocks.base import Conditioning


@pytest.fixture
def x():
    return tokens()[0].double()


@pytest.fixture
def c():
    c = tokens()[1]
    return Conditioning.of(c.t.double(), c.c.double())
