"""Blocks by name and location."""

import hashlib
from functools import partial
from pathlib import Path

import pytest

import ditbench
from ditbench.models.registry import block_class, block_names, is_own
from ditbench.plugins import lookup
from ditbench.plugins.lookup import (
    block_errors,
    check_block,
    expand_all,
    external_block,
    find_block,
    restore_block,
)


def test_a_class_in_a_file_is_a_block(write, monkeypatch, tmp_path):
    write()
    monkeypatch.chdir(tmp_path)
    assert expand_all(["./mine.py:Mine"]) == ["Mine"]
    assert expand_all(["none", "mine.py:Mine", "paper"]) == ["none", "Mine", *block_names("paper")]
    assert check_block("Mine") == "Mine"
    assert find_block("Mine").__name__ == "Mine"
    assert "Mine" not in block_names()


def test_groups_and_names_expand_without_the_file_system():
    assert expand_all(["paper"]) == block_names("paper")
    assert expand_all(["u-vit"]) == ["u-vit"]
    assert all(external_block(name) is None for name in block_names())
    assert find_block("adaln") is block_class("adaln")


@pytest.mark.parametrize("name", ["hybrid", "none", "paper", "all"])
def test_a_class_cannot_take_the_name_of_one_of_ditbench_s_own(write, name, refused):
    path = write(write().read_text().replace("Mine", name))
    error = refused(expand_all, [f"{path}:{name}"])
    assert f"ditbench has a block or group called '{name}'" in error.message
    assert error.hint == "rename the class"


def test_two_files_with_the_same_class_name_are_not_mixed_up(write, refused):
    one, other = write(name="one.py"), write(name="other.py")
    assert expand_all([f"{one}:Mine", f"{one}:Mine"]) == ["Mine"]
    error = refused(expand_all, [f"{one}:Mine", f"{other}:Mine"])
    assert f"two blocks are called Mine: {one}:Mine and {other}:Mine" in error.message
    assert external_block("Mine").file == str(other)
    expand_all([f"{one}:Mine"])
    assert external_block("Mine").file == str(one)


def test_a_group_is_not_a_block(refused):
    error = refused(find_block, "paper")
    assert error.message == "'paper' is a group of blocks, not a block"
    assert error.hint == "name one of it: in-context, cross-attention, adaln, adaln-zero"


def test_an_unknown_name_offers_blocks_and_groups(refused):
    assert "adaln-zero" in refused(find_block, "adaln_zer").hint
    assert "paper" in refused(expand_all, ["papr"]).hint


def test_the_block_of_a_recorded_run_is_found_again_or_reported_as_gone(write, refused):
    path = write()
    expand_all([f"{path}:Mine"])
    block = external_block("Mine")
    recorded = ("Mine", block.location, block.sha256, Path("RUN/strategy.py"))
    restore = partial(restore_block, trust=False)
    lookup._EXTERNAL.clear()
    restore(*recorded)
    assert find_block("Mine").__name__ == "Mine"
    path.write_text(path.read_text() + "# edited\n")
    error = refused(restore, *recorded)
    assert "has changed: its SHA-256 was" in error.message
    assert "RUN/strategy.py is a copy of what it was" in error.hint
    path.unlink()
    error = refused(restore, *recorded)
    assert f"the code of Mine is gone: there is no file {path}" in error.message
    assert "RUN/strategy.py" in error.hint


def test_a_record_with_a_relative_path_is_refused(write, monkeypatch, tmp_path, refused):
    path = write()
    monkeypatch.chdir(tmp_path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    error = refused(partial(restore_block, trust=False), "Mine", "mine.py:Mine", sha256, Path())
    assert "not an absolute path" in error.message


def test_the_copy_in_a_run_is_executed_only_with_consent(write, tmp_path, refused):
    """Whether or not the record names it as the original."""
    path = write()
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    run = tmp_path / "run"
    run.mkdir()
    copy = run / "strategy.py"
    path.rename(copy)
    for location in (path, copy):
        recorded = ("Mine", f"{location}:Mine", sha256, copy)
        error = refused(partial(restore_block, trust=False), *recorded)
        assert "pass --trust to execute it" in error.hint
        lookup._EXTERNAL.clear()
        restore_block(*recorded, trust=True)
        assert find_block("Mine").__name__ == "Mine"
        assert external_block("Mine").file == str(copy)
    copy.write_text("raise SystemExit('executed')")
    error = refused(partial(restore_block, trust=True), *recorded)
    assert "has changed" in error.message


def test_errors_of_an_external_block_name_it_and_its_check(write, refused):
    path = write()
    find_block(f"{path}:Mine")

    def fail():
        with block_errors("Mine"):
            raise KeyError("lost")

    error = refused(fail)
    assert error.message == "KeyError: 'lost' (block Mine)"
    assert f"ditbench blocks check {path}:Mine" in error.hint


def test_errors_of_ditbench_s_own_blocks_pass():
    with pytest.raises(KeyError), block_errors("none"):
        raise KeyError("lost")


def test_a_decorator_has_no_effect_in_a_file_given_by_its_location(write):
    text = write().read_text().replace("class Mine", "@ditbench.strategy('Mine')\nclass Mine")
    path = write("import ditbench\n" + text)
    for edit in ("", "# edited"):
        path.write_text(path.read_text() + edit)
        expand_all([f"{path}:Mine"])
        assert find_block("Mine")
        assert external_block("Mine").location == f"{path}:Mine"
    assert "Mine" not in block_names()


def test_a_decorated_class_is_an_external_block():
    from ditbench.models.blocks.plain import PlainBlock

    for _ in range(2):  # a notebook cell that is run twice

        @ditbench.strategy("decorated", "house")
        class Decorated(PlainBlock):
            reads_timestep = reads_class = False

        assert find_block("decorated") is Decorated
        assert not is_own("decorated")
        assert external_block("decorated").file == __file__
        assert expand_all(["house"]) == ["decorated"]
    with pytest.raises(ValueError, match="is taken"):
        ditbench.strategy("adaln")(Decorated)
    with pytest.raises(ValueError, match="cannot name a directory"):
        ditbench.strategy("a/b")
