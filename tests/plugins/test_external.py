"""Blocks in files and modules: how they are written, loaded and refused."""

import hashlib

import pytest

from ditbench.models.registry import FILE_MODULE
from ditbench.plugins.external import ExternalBlock, is_location, parse_location
from ditbench.plugins.user_traceback import BlockError


def load(text):
    return ExternalBlock("Mine", parse_location(text))


def test_a_location_is_not_a_name():
    for text in ("mine.py:Mine", "a.b:Mine", "./mine", "mine.py"):
        assert is_location(text)
    for name in ("adaln-zero", "mine", "a.b"):
        assert not is_location(name)


def test_a_file_is_executed_once_for_each_of_its_contents(write):
    path = write()
    first, again = (load(f"{path}:Mine").block for _ in range(2))
    assert first is again
    assert first.__module__.startswith(FILE_MODULE)
    write(path.read_text().replace("reads_class = False", "reads_class = True"))
    assert load(f"{path}:Mine").block.reads_class


def test_what_a_run_records(write, monkeypatch, tmp_path):
    path = write()
    monkeypatch.chdir(tmp_path)
    block = load("./mine.py:Mine")
    assert (block.location, block.file) == (f"{path}:Mine", str(path))
    assert block.source == path.read_bytes()
    assert block.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_module_is_imported_and_its_file_recorded(write, monkeypatch, tmp_path):
    path = write(name="apackage/inner.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    block = load("apackage.inner:Mine")
    assert block.block.__module__ == "apackage.inner"
    assert block.location == "apackage.inner:Mine"
    assert block.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("text", "words"),
    [("./mine.py", "does not name a class"), (":Mine", "does not name a class"),
     ("mine.py:", "does not name a class"), ("mine.py:a b", "does not name a class"),
     ("mine.py:class", "does not name a class"), ("mine.py:A.B", "does not name a class"),
     ("nowhere.py:Mine", "there is no file nowhere.py"), ("a/b:Mine", "there is no file a/b"),
     ("/:Mine", "there is no file /"), ("a-b.c:Mine", "is not the name of a module"),
     ("..x:Mine", "is not the name of a module"),
     ("~nobody-at-all/a.py:Mine", "there is no file ~nobody"),
     ("a" * 300 + ".py:Mine", "there is no file a")],
)  # fmt: skip
def test_a_location_without_a_file_or_class_is_refused_at_once(
    text, words, refused, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    error = refused(parse_location, text)
    assert words in error.message
    assert "./my_block.py:MyBlock" in error.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [("class Mine(:\n", ":1: SyntaxError: invalid syntax"),
     ("a = 1\nb = a / 0\n", ":2: ZeroDivisionError: division by zero"),
     ("import sys\nsys.exit('no')\n", ":2: SystemExit: no"),
     ("\nopen('/nowhere')\n", ":2: FileNotFoundError"),
     ("import nowhere_at_all\n", ":1: ModuleNotFoundError: No module named"),
     ("x = '\0'\n", "null bytes")],
)  # fmt: skip
def test_a_file_that_raises_shows_its_traceback(write, text, words, refused):
    path = write(text)
    error = refused(lambda: load(f"{path}:Mine").block)
    assert isinstance(error, BlockError)
    assert words in error.message
    assert error.message.endswith("(block Mine)")
    assert "external.py" not in error.traceback_text or "null bytes" in words


PLAIN = (
    "from ditbench.models.blocks.plain import PlainBlock\n"
    "from ditbench.models.init import zero\nclass Mine(PlainBlock):\n"
)


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [("Mine = None\n", "mine.py has no class Mine", "complete example"),
     ("class Mine: pass\n", "mine.py:Mine is not a subclass of Block", "complete example"),
     ("Mine = 3\n", "mine.py:Mine is not a subclass of Block", "complete example"),
     ("from ditbench.models.blocks.base import Block\nclass Mine(Block): pass\n",
      "mine.py:Mine does not define forward(self, x, c)", "complete example"),
     ("from ditbench.models.blocks.plain import PlainBlock\nclass Mint(PlainBlock): pass\n",
      "mine.py has no class Mine", "it has Mint"),
     (PLAIN + "    def __init__(self, spec): super().__init__(spec, 0)\n",
      "mine.py:Mine does not define __init__(self, spec, index)", "complete example"),
     (PLAIN + "    initial = ('blocks.*.k', zero)\n", "`initial` of ", "gates.*', zero),),"),
     (PLAIN + "    initial = {'blocks.*.k': zero}\n", "`initial` of ", "with the last comma")],
)  # fmt: skip
def test_a_file_without_the_block_says_what_it_has(write, text, words, hint, refused):
    path = write(text)
    error = refused(lambda: load(f"{path}:Mine").block)
    assert words in error.message
    assert hint in error.hint
    assert not isinstance(error, BlockError)


def test_a_module_that_is_missing_or_broken(write, monkeypatch, tmp_path, refused):
    error = refused(lambda: load("not_there.at_all:Mine").block)
    assert error.message == "there is no module 'not_there'"
    path = write("import not_there_either", "broken_one.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    error = refused(lambda: load("broken_one:Mine").block)
    assert f"{path}:1: ModuleNotFoundError: No module named 'not_there_either'" in error.message
    assert error.traceback_text.splitlines()[1].strip().startswith(f'File "{path}", line 1')


def test_a_class_without_a_file_cannot_be_recorded(refused):
    class Mine:
        pass

    block = ExternalBlock("Mine", parse_location("sys:Mine"), Mine)
    assert "no source file that a run can record" in refused(lambda: block.source).message
