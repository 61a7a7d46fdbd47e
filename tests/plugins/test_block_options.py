"""Options of blocks."""

import pytest

from ditbench.models.sizes import ModelSize
from ditbench.plugins.lookup import block_options, check_options, expand_all

SIZE = ModelSize(hidden_size=32, depth=2, num_heads=4, patch_size=2)
OPTIONS = "    @classmethod\n    def options(cls, size):\n        return {}\n"


@pytest.fixture
def stated(write):
    """A block with options, given as Python's text of a dictionary."""

    def stated(text):
        path = write(write().read_text() + OPTIONS.format(text).replace("{}", text))
        expand_all([f"{path}:Mine"])
        return "Mine"

    return stated


def test_given_options_replace_the_defaults_of_those_that_a_block_has(stated):
    name = stated("{'rank': 3, 'heads': 2}")
    assert block_options(name, SIZE, {"rank": 5, "other": 1}) == {"rank": 5, "heads": 2}
    assert block_options("adaln", SIZE, {"rank": 5}) == {}


def test_an_option_that_no_block_has_is_refused(stated, refused):
    name = stated("{'rank': 3}")
    check_options(["adaln", name], SIZE, ["rank"])
    error = refused(check_options, ["adaln", name], SIZE, ["rnk"])
    assert "unknown option 'rnk'" in error.message
    assert "rank" in error.hint
    error = refused(check_options, ["adaln", "none"], SIZE, ["rank"])
    assert error.message == "adaln, none have no option 'rank'"


@pytest.mark.parametrize("default", ["0", "1.5", "'a'"])
def test_a_default_that_is_no_whole_number_is_refused(default, stated, refused):
    error = refused(block_options, stated(f"{{'rank': {default}}}"), SIZE, {})
    assert f"the default of option 'rank' is {default}" in error.message


def test_options_that_raise_show_their_traceback(stated, refused):
    assert (
        "ZeroDivisionError" in refused(block_options, stated("{'rank': 1 / 0}"), SIZE, {}).message
    )
