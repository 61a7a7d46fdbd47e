"""Commands that take seconds before their output show what they do."""

import io
import sys
from contextlib import nullcontext
from unittest.mock import Mock

import pytest
from pictures import grey, write_folder

from ditbench.cli.output import meter
from ditbench.metrics import extractor_names
from ditbench.models.registry import block_names


@pytest.fixture
def shown(monkeypatch):
    """The meter of a command."""
    mock = Mock()
    monkeypatch.setattr(meter, "meter", lambda **_quiet: nullcontext(mock))
    return mock


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("features", extractor_names()),
        ("blocks", block_names()),
        ("flops --block adaln,none", ("adaln", "none")),
    ],
)
def test_lists_show_at_which_name_they_are(succeed, shown, command, names):
    succeed(*command.split())
    assert [call.args[-1] for call in shown.show.mock_calls] == [*names]


@pytest.mark.parametrize(
    "command",
    [
        "init {} --device cpu",
        "run --data {} --dry-run --block adaln",
        "tune --data {} --dry-run --block adaln",
    ],
)
def test_commands_show_how_far_pictures_are_read(succeed, untimed, elsewhere, shown, command):
    data = write_folder(elsewhere / "data", {f"{n:02}.png": grey(n, 8, 8) for n in range(20)})
    succeed(*command.format(data).split())
    shown.show.assert_called_with("pictures", 20, 20, "20/20 read")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def not_loaded(monkeypatch):
    """As if torch were not imported yet: the mock would import it."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(meter, "import_module", Mock())
    return meter.import_module


@pytest.mark.parametrize("error", [None, ImportError])
def test_a_terminal_shows_that_torch_is_loaded_until_it_is(not_loaded, monkeypatch, error):
    monkeypatch.setattr(sys, "stderr", Terminal())

    def imported(name):
        assert (name, sys.stderr.getvalue()) == ("torch", "loading torch")
        if error:
            raise error

    not_loaded.side_effect = imported
    with pytest.raises(error) if error else nullcontext():
        meter.load_torch()
    assert sys.stderr.getvalue() == "loading torch\r\x1b[K"  # which leaves an empty line


@pytest.mark.parametrize("reason", ["quiet", "loaded", "pipe", "dumb"])
def test_elsewhere_nothing_is_shown(not_loaded, monkeypatch, reason):
    monkeypatch.setattr(sys, "stderr", io.StringIO() if reason == "pipe" else Terminal())
    if reason == "loaded":
        monkeypatch.setitem(sys.modules, "torch", Mock())
    elif reason == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    meter.load_torch(quiet=reason == "quiet")
    not_loaded.assert_called_once_with("torch")
    assert sys.stderr.getvalue() == ""
