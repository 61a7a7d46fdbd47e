"""Names and groups of blocks."""

import subprocess
import sys

import pytest

from ditbench.errors import DitbenchError
from ditbench.models import registry
from ditbench.models.registry import block_class, block_names, group_names, is_own, strategy


@pytest.fixture
def _own_registry(monkeypatch):
    monkeypatch.setattr(registry, "_LOCATIONS", dict(registry._LOCATIONS))
    monkeypatch.setattr(registry, "_DECORATED", {})
    groups = {name: list(members) for name, members in registry._GROUPS.items()}
    monkeypatch.setattr(registry, "_GROUPS", groups)


def test_the_paper_s_four_come_first_in_its_order():
    four = ["in-context", "cross-attention", "adaln", "adaln-zero"]
    assert block_names()[:4] == block_names("paper") == four


def test_groups_have_the_members_that_name_them():
    assert group_names() == ["all", "paper", "ablation", "controls"]
    assert set(block_names("ablation")) == {"adaln", "adaln-zero", "adaln-gate", "adaln-zero-init"}
    assert block_names("controls") == ["no-time", "none"]


def test_names_are_listed_without_torch():
    program = (
        "import sys\nfrom ditbench.models.registry import block_names\n"
        "assert block_names()\nassert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


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


@pytest.mark.usefixtures("_own_registry")
def test_a_decorated_class_is_registered():
    @strategy("decorated", "house")
    class Decorated:
        pass

    assert block_class("decorated") is Decorated
    assert block_names("house") == ["decorated"]
    assert not is_own("decorated")
    with pytest.raises(ValueError, match="is taken"):
        strategy("adaln")(Decorated)
    with pytest.raises(ValueError, match="cannot name a directory"):
        strategy("a/b")
