"""Files and packages with blocks, and a registry that forgets them."""

import textwrap

import pytest

from ditbench.models import registry
from ditbench.plugins import lookup

PLAIN = """
from ditbench.models.blocks.plain import PlainBlock

class Mine(PlainBlock):
    reads_timestep = False
    reads_class = False
"""


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(lookup, "_EXTERNAL", {})
    monkeypatch.setattr(registry, "_LOCATIONS", dict(registry._LOCATIONS))
    monkeypatch.setattr(registry, "_DECORATED", {})
    groups = {name: list(members) for name, members in registry._GROUPS.items()}
    monkeypatch.setattr(registry, "_GROUPS", groups)


@pytest.fixture
def write(tmp_path):
    """Write a file below the test's directory, by default one with a block; returns its path."""

    def write(text=PLAIN, name="mine.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return write


@pytest.fixture
def package(write, tmp_path, monkeypatch):
    """Install a package with entry points, given as lines `name = value`."""

    def install(*lines, name="theirs"):
        info = f"{name}/{name}-1.dist-info"
        write("\n".join(["[ditbench.blocks]", *lines]), f"{info}/entry_points.txt")
        write(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n", f"{info}/METADATA")
        monkeypatch.syspath_prepend(str(tmp_path / name))

    return install


@pytest.fixture
def refused():
    """Call a function that must raise a usage error; returns the error."""
    from ditbench.errors import DitbenchError

    def refused(call, *arguments):
        with pytest.raises(DitbenchError) as raised:
            call(*arguments)
        assert raised.value.exit_code == 2
        assert "\n" not in raised.value.message
        return raised.value

    return refused
