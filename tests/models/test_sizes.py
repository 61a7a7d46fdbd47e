"""Names of model sizes, and models of equal size."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ditbench.errors import DitbenchError
from ditbench.models.sizes import TOLERANCE, ModelSize, match_width, parse_model


def test_the_paper_s_sizes():
    assert parse_model("XL/2") == ModelSize(1152, 28, 16, 2)
    assert parse_model("s/4") == ModelSize(384, 12, 6, 4)
    assert parse_model("256x8x4/2") == ModelSize(256, 8, 4, 2)
    assert parse_model("1152x28x16/2").name == "XL/2"
    assert parse_model("256x8x4/2").name == "256x8x4/2"


@pytest.mark.parametrize("name", ["XXL/2", "S", "S/0", "256x8/2", "", "S/2/2", "0x1x1/1"])
def test_other_names_offer_the_right_ones(name):
    with pytest.raises(DitbenchError, match="model") as raised:
        parse_model(name)
    assert "256x8x4/2" in raised.value.hint


def amount(size):
    """As of parameters: squares and multiples of the width."""
    return 12 * size.depth * size.hidden_size**2 + 500 * size.hidden_size


@given(
    heads=st.integers(1, 8),
    head_width=st.integers(1, 40),
    factor=st.floats(0.2, 8, exclude_min=True),
)
def test_the_matched_width_is_the_nearest_there_is(heads, head_width, factor):
    size = ModelSize(4 * heads * head_width, 3, heads, 2)
    target = factor * amount(size)
    found = match_width(size, amount, target)
    assert (found.depth, found.patch_size) == (3, 2)
    assert found.hidden_size % 4 == found.hidden_size % found.num_heads == 0
    by_heads = [ModelSize(n * 4 * head_width, 3, n, 2) for n in range(1, 60)]
    step = math.lcm(4, heads)
    by_head_width = [ModelSize(width, 3, heads, 2) for width in range(step, 5000, step)]
    errors = [
        min(abs(amount(each) / target - 1) for each in sizes) for sizes in (by_heads, by_head_width)
    ]
    error = abs(amount(found) / target - 1)
    if errors[0] <= TOLERANCE:  # whole heads of the same width
        assert error == pytest.approx(errors[0])
        assert found.hidden_size // found.num_heads == 4 * head_width
    else:
        assert error <= min(errors) * (1 + 1e-12)


def test_a_width_that_fits_stays():
    size = ModelSize(64, 4, 4, 2)
    assert match_width(size, amount, amount(size)) == size
    assert match_width(size, amount, 1.02 * amount(size)) == size
