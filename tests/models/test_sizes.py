"""Names of model sizes."""

import pytest

from ditbench.errors import DitbenchError
from ditbench.models.sizes import ModelSize, check_size, parse_model


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


@pytest.mark.parametrize(
    ("P", "height", "width", "nearest"),
    [(8, 28, 28, 7), (2, 21, 21, 3), (2, 49, 49, 7), (3, 8, 8, 4), (2, 13, 26, 13), (2, 7, 7, 1),
     (4, 33, 32, 1), (10**9 - 1, 10**9, 10**9, 5 * 10**8)],
)  # fmt: skip
def test_a_patch_size_that_divides_is_offered(P, height, width, nearest):
    with pytest.raises(DitbenchError, match="does not divide") as raised:
        check_size(ModelSize(384, 12, 6, P), height, width)
    assert raised.value.hint == f"choose one that does: --model S/{nearest}"
    assert height % nearest == width % nearest == 0
