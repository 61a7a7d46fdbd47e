"""Strategies from files, modules and packages: how they are named, found, refused and traced."""

import hashlib
import subprocess
import sys
import textwrap

import pytest
import torch

import ditbench
from ditbench.errors import DitbenchError
from ditbench.models import blocks as registry
from ditbench.models.blocks import (
    block_class,
    block_names,
    check_block,
    expand,
    expand_all,
    outside,
    recall,
    shadowed,
)
from ditbench.models.cost import count
from ditbench.models.dit import DiT
from ditbench.models.sizes import ModelSize

SIZE = ModelSize(hidden_size=32, depth=2, num_heads=4, patch_size=2)
SHAPE = {"height": 8, "width": 8, "channels": 1, "num_classes": 10}
PLAIN = """
from ditbench.models.blocks.plain import PlainBlock

class Mine(PlainBlock):
    reads_timestep = False
    reads_class = False
"""


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    """What a test makes known is forgotten after it."""
    monkeypatch.setattr(registry, "_OUTSIDE", {})
    monkeypatch.setattr(registry, "_LOCATIONS", dict(registry._LOCATIONS))
    groups = {name: list(members) for name, members in registry._GROUPS.items()}
    monkeypatch.setattr(registry, "_GROUPS", groups)


@pytest.fixture
def write(tmp_path):
    """Write a file below the test's folder; returns its path."""

    def write(text, name="mine.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return write


@pytest.fixture
def package(write, tmp_path, monkeypatch):
    """Install a package with entry points: `name = value` lines."""

    def install(*lines, name="theirs"):
        root = tmp_path / name
        write(
            "\n".join(["[ditbench.blocks]", *lines]), f"{name}/{name}-1.dist-info/entry_points.txt"
        )
        write(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n",
            f"{name}/{name}-1.dist-info/METADATA",
        )
        monkeypatch.syspath_prepend(str(root))
        return root

    return install


def refused(call, *arguments):
    with pytest.raises(DitbenchError) as raised:
        call(*arguments)
    assert raised.value.exit_code == 2
    return raised.value


def test_a_class_in_a_file_is_a_strategy(write, monkeypatch, tmp_path):
    write(PLAIN)
    monkeypatch.chdir(tmp_path)
    assert expand("./mine.py:Mine") == ["Mine"]
    assert expand_all(["none", "mine.py:Mine", "paper"]) == ["none", "Mine", *block_names("paper")]
    assert check_block("Mine") == "Mine"
    assert block_class("Mine").__name__ == "Mine"
    mine, none = (count(name, SIZE, **SHAPE) for name in ("Mine", "none"))
    assert (mine.block, mine.parameters, mine.gmacs) == ("Mine", none.parameters, none.gmacs)
    assert count("./mine.py:Mine", SIZE, **SHAPE) == mine
    assert "Mine" not in block_names()


def test_naming_a_file_neither_executes_it_nor_imports_torch(write):
    path = write("raise SystemExit('executed')")
    program = (
        "import sys\nfrom ditbench.models.blocks import expand\n"
        f"assert expand({str(path)!r} + ':Mine') == ['Mine']\nassert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_what_is_known_of_it(write):
    path = write(PLAIN)
    expand(f"{path}:Mine")
    theirs = outside("Mine")
    assert theirs.location == f"{path}:Mine"
    assert theirs.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert all(outside(name) is None for name in block_names())


def test_an_edited_file_is_another_class_and_an_unedited_one_the_same(write):
    path = write(PLAIN)
    first, again = (block_class(f"{path}:Mine") for _ in range(2))
    assert first is again
    write(PLAIN.replace("reads_class = False", "reads_class = True"))
    assert block_class(f"{path}:Mine").reads_class


def test_a_class_of_a_module(write, monkeypatch, tmp_path):
    write(PLAIN, "apackage/inner.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    expand("apackage.inner:Mine")
    theirs = outside("Mine")
    assert block_class("Mine").__module__ == "apackage.inner"
    assert theirs.location == "apackage.inner:Mine"
    assert (
        theirs.sha256 == hashlib.sha256((tmp_path / "apackage/inner.py").read_bytes()).hexdigest()
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [("./mine.py", "does not name a class"), (":Mine", "does not name a class"),
     ("mine.py:", "does not name a class"), ("mine.py:a b", "does not name a class"),
     ("mine.py:class", "does not name a class"), ("mine.py:A.B", "does not name a class"),
     ("nowhere.py:Mine", "nowhere.py does not exist"), ("a/b:Mine", "a/b does not exist"),
     ("/:Mine", "/ is not a file"), ("a-b.c:Mine", "no name of a module"),
     ("..x:Mine", "no name of a module"), ("~nobody-at-all/a.py:Mine", "is not a file"),
     ("a" * 300 + ".py:Mine", "is not a file")],
)  # fmt: skip
def test_a_place_that_is_none_is_refused_at_once(text, words, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    error = refused(expand, text)
    assert words in error.message
    assert "./my_block.py:MyBlock" in error.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("class Mine(:\n", "mine.py:1: SyntaxError: invalid syntax"),
        ("a = 1\nb = a / 0\n", "mine.py:2: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit('no')\n", "mine.py:2: SystemExit: no"),
        ("\nopen('/nowhere')\n", "mine.py:2: FileNotFoundError"),
        ("import nowhere_at_all\n", "mine.py:1: ModuleNotFoundError: No module named"),
        ("Mine = None\n", "mine.py has no class Mine"),
        ("class Mine: pass\n", "mine.py:Mine is not a subclass of Block"),
        ("Mine = 3\n", "mine.py:Mine is not a subclass of Block"),
        ("x = '\0'\n", "null bytes"),
        ("from ditbench.models.blocks.base import Block\nclass Mine(Block): pass\n",
         "mine.py:Mine has no forward"),
        ("from ditbench.models.blocks.plain import PlainBlock\nclass Mint(PlainBlock): pass\n",
         "unknown class in"),
    ],
)  # fmt: skip
def test_a_file_that_has_no_strategy_says_why_in_a_line(write, text, words):
    path = write(text)
    error = refused(block_class, f"{path}:Mine")
    assert words in error.message
    assert "\n" not in error.message
    if "unknown class" in words:
        assert error.hint == "did you mean Mint?"


def test_a_module_that_is_not_there_or_is_broken(write, monkeypatch, tmp_path):
    assert refused(block_class, "not_there.at_all:Mine").message == "there is no module 'not_there'"
    write("import not_there_either", "broken_one.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    error = refused(block_class, "broken_one:Mine")
    assert "No module named 'not_there_either'" in error.message
    assert "while broken_one was imported" in error.message


@pytest.mark.parametrize("name", ["hybrid", "none", "paper", "all"])
def test_a_class_cannot_take_the_name_of_ditbench_s_own(write, name):
    path = write(PLAIN.replace("Mine", name))
    error = refused(expand, f"{path}:{name}")
    assert f"ditbench has a strategy or group called '{name}'" in error.message
    assert error.hint == "rename the class"


def test_two_files_of_one_class_name_are_not_mixed_up(write):
    one, other = write(PLAIN, "one.py"), write(PLAIN, "other.py")
    assert expand_all([f"{one}:Mine", f"{one}:Mine"]) == ["Mine"]
    error = refused(expand_all, [f"{one}:Mine", f"{other}:Mine"])
    assert f"two strategies are called Mine: {one}:Mine and {other}:Mine" in error.message
    assert outside("Mine").place.container == str(other)
    expand(f"{one}:Mine")
    assert outside("Mine").place.container == str(one)


def test_exceptions_of_a_strategy_name_their_line(write):
    path = write("""
        from ditbench.models.blocks.plain import PlainBlock

        class Mine(PlainBlock):
            def forward(self, x, told):
                x, y = x.norm()
                return x.add(y @ y)
        """)
    error = refused(lambda: count(f"{path}:Mine", SIZE, **SHAPE))
    assert f"{path}:7: " in error.message
    assert "in: return x.add(y @ y) (by Mine)" in error.message
    assert f"ditbench blocks check {path}:Mine" in error.hint


def test_exceptions_of_ditbench_s_own_strategies_pass(monkeypatch):
    monkeypatch.setattr(block_class("none"), "forward", None)
    with pytest.raises(TypeError):
        count("none", SIZE, **SHAPE)


def test_an_option_that_can_be_none_is_refused(write):
    text = PLAIN + "    @classmethod\n    def options(cls, size):\n        return {'rank': 0}\n"
    error = refused(lambda: count(f"{write(text)}:Mine", SIZE, **SHAPE))
    assert "the option 'rank' is 0, not a whole number above 0" in error.message


def test_the_strategy_of_a_recorded_run_is_had_again_or_said_to_be_gone(write):
    path = write(PLAIN)
    expand(f"{path}:Mine")
    recorded = ("Mine", outside("Mine").location, outside("Mine").sha256, "RUN/strategy.py")
    registry._OUTSIDE.clear()
    recall(*recorded)
    assert block_class("Mine").__name__ == "Mine"
    path.write_text(PLAIN + "# edited\n")
    error = refused(recall, *recorded)
    assert "has changed since: its SHA-256 was" in error.message
    assert "RUN/strategy.py is a copy of what it was" in error.hint
    path.unlink()
    error = refused(recall, *recorded)
    assert f"the code of Mine is gone: {path} does not exist" in error.message
    assert "RUN/strategy.py" in error.hint


def test_a_record_names_no_file_by_where_one_happens_to_be(write, monkeypatch, tmp_path):
    path = write(PLAIN)
    monkeypatch.chdir(tmp_path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert "not an absolute path" in refused(recall, "Mine", "mine.py:Mine", sha256, "").message


def test_an_installed_strategy_has_the_name_of_its_entry_point(package, write):
    package("class-gate = theirs_blocks:Mine")
    write(PLAIN, "theirs/theirs_blocks.py")
    assert expand("class-gate") == ["class-gate"]
    assert "theirs_blocks" not in sys.modules
    assert block_class("class-gate").__name__ == "Mine"
    assert count("class-gate", SIZE, **SHAPE).block == "class-gate"
    assert outside("class-gate").location == "theirs_blocks:Mine"
    assert "class-gate" not in block_names()
    assert "class-gate" in refused(expand, "class-gte").hint


def test_a_broken_package_breaks_nothing_but_its_own_strategy(package, write):
    package("broken = theirs_broken:Mine", "gone = theirs_gone:Mine", "odd = not a place",
            "up down = theirs_broken:Mine")  # fmt: skip
    write("1 / 0", "theirs/theirs_broken.py")
    assert block_class("none")
    assert expand("all") == block_names()
    assert "ZeroDivisionError" in refused(block_class, "broken").message
    assert refused(block_class, "gone").message == "there is no module 'theirs_gone'"
    assert "the strategy 'odd' of package theirs is broken" in refused(block_class, "odd").message
    assert "cannot name a directory" in refused(outside, "up down").message


def test_a_name_of_ditbench_s_own_stays_its_own(package):
    package("adaln = theirs_blocks:Mine", "paper = theirs_blocks:Mine", "free = theirs_blocks:Mine")
    assert block_class("adaln").__module__ == "ditbench.models.blocks.adaln"
    assert expand("paper") == block_names("paper")
    assert shadowed() == [
        f"the strategy '{name}' of package theirs is left out: ditbench has one of that name"
        for name in ("adaln", "paper")
    ]


def test_two_packages_of_one_name_are_refused(package):
    package("mine = one_blocks:Mine", name="one")
    package("mine = two_blocks:Mine", name="two")
    error = refused(block_class, "mine")
    assert "several packages have a strategy 'mine'" in error.message
    assert "one_blocks:Mine" in error.hint
    assert "two_blocks:Mine" in error.hint


def test_a_decorator_leaves_the_strategy_of_a_place_alone(write):
    text = "import ditbench\n" + PLAIN.replace(
        "class Mine", "@ditbench.strategy('Mine')\nclass Mine"
    )
    path = write(text)
    for edit in ("", "# edited"):
        path.write_text(text + edit)
        expand(f"{path}:Mine")
        assert block_class("Mine")
        assert outside("Mine").location == f"{path}:Mine"
    assert "Mine" not in block_names()


def test_a_decorated_class_is_a_strategy_of_this_process():
    from ditbench.models.blocks.plain import PlainBlock

    @ditbench.strategy("decorated", "house")
    class Decorated(PlainBlock):
        reads_timestep = reads_class = False

    assert block_class("decorated") is Decorated
    assert expand("house") == ["decorated"]
    model = DiT("decorated", SIZE, out_channels=1, **SHAPE)
    assert model(torch.zeros(2, 1, 8, 8), torch.zeros(2), torch.zeros(2).long()).shape == (
        2,
        1,
        8,
        8,
    )
    with pytest.raises(ValueError, match="is taken"):
        ditbench.strategy("adaln")(Decorated)
    with pytest.raises(ValueError, match="cannot name a directory"):
        ditbench.strategy("a/b")
