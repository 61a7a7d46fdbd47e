"""Commands that take seconds before their output show what they do."""

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
