"""Names and groups of blocks."""

import pytest

from ditbench.errors import DitbenchError
from ditbench.models import registry
from ditbench.models.registry import block_class, block_names, group_names, is_own


def test_the_paper_s_four_come_first_in_its_order():
    four = ["in-context", "cross-attention", "adaln", "adaln-zero"]
    assert block_names()[:4] == block_names("paper") == four


def test_groups_have_the_members_that_name_them():
    assert group_names() == ["all", "paper", "ablation", "controls"]
    assert set(block_names("ablation")) == {"adaln", "adaln-zero", "adaln-gate", "adaln-zero-init"}
    assert block_names("controls") == ["no-time", "none"]


def test_every_name_has_a_class_of_its_own():
    classes = [block_class(name) for name in block_names()]
    assert len(set(classes)) == len(classes)
    assert all(is_own(name) for name in (*block_names(), *group_names()))


def test_a_group_and_a_block_cannot_share_a_name():
    for name, groups in (("paper", ()), ("mine", ("adaln",)), ("mine", ("mine",))):
        with pytest.raises(ValueError, match="the same name"):
            registry.register(name, "elsewhere:Block", *groups)
    assert "mine" not in block_names()


def test_a_name_that_is_taken_is_an_error():
    with pytest.raises(ValueError, match="adaln-zero"):
        registry.register("adaln-zero", "elsewhere:Block")


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(DitbenchError) as raised:
        block_class("adaln_zer")
    assert "adaln-zero" in raised.value.hint
