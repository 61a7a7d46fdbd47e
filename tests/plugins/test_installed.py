"""Blocks of installed packages."""

import sys

from ditbench.models.registry import block_names
from ditbench.plugins.lookup import expand_all, external_block, find_block, package_of, shadowed


def test_an_installed_block_has_the_name_of_its_entry_point(package, write, refused):
    package("class-gate = theirs_blocks:Mine")
    write(name="theirs/theirs_blocks.py")
    assert expand_all(["class-gate"]) == ["class-gate"]
    assert "theirs_blocks" not in sys.modules
    assert find_block("class-gate").__name__ == "Mine"
    assert external_block("class-gate").location == "theirs_blocks:Mine"
    assert "class-gate" not in block_names()
    assert "class-gate" in refused(expand_all, ["class-gte"]).hint


def test_a_broken_package_breaks_nothing_but_its_own_block(package, write, refused):
    package("broken = theirs_broken:Mine", "gone = theirs_gone:Mine", "odd = not a place",
            "up down = theirs_broken:Mine")  # fmt: skip
    write("1 / 0", "theirs/theirs_broken.py")
    assert find_block("none")
    assert expand_all(["all"]) == block_names()
    assert "ZeroDivisionError" in refused(find_block, "broken").message
    assert refused(find_block, "gone").message == "there is no module 'theirs_gone'"
    assert "the block 'odd' of package theirs is broken" in refused(find_block, "odd").message
    assert "cannot name a directory" in refused(external_block, "up down").message


def test_a_name_of_ditbench_s_own_stays_its_own(package):
    package("adaln = theirs_blocks:Mine", "paper = theirs_blocks:Mine", "free = theirs_blocks:Mine")
    assert find_block("adaln").__module__ == "ditbench.models.blocks.adaln"
    assert expand_all(["paper"]) == block_names("paper")
    assert shadowed() == [
        f"the block '{name}' of package theirs is ignored: ditbench has a block or group of that "
        "name"
        for name in ("adaln", "paper")
    ]


def test_a_name_that_two_packages_use_is_refused(package, refused):
    package("mine = one_blocks:Mine", name="one")
    package("mine = two_blocks:Mine", name="two")
    error = refused(find_block, "mine")
    assert "several packages have the block 'mine'" in error.message
    assert "one_blocks:Mine" in error.hint
    assert "two_blocks:Mine" in error.hint


def test_the_package_of_a_location(package):
    package("mine = theirs_blocks:Mine")
    assert package_of("theirs_blocks:Mine") == "theirs 1"
    assert package_of("theirs_blocks:Other") is None
