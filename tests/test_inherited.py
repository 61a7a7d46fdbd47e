"""Settings of the environment and of streams that a process inherits."""

import io
import os
import subprocess
import sys
import warnings

import pytest

from ditbench import inherited

# Each of these broke a command, or would. A data set of a test would only make it slower.
HOSTILE = {
    "MPLBACKEND": "module://matplotlib_inline.nowhere",
    "MATPLOTLIBRC": "BROKEN",
    "MPLCONFIGDIR": "/proc/nowhere",
    "COLUMNS": "²",
    "LINES": "-1",
    "TERMINAL_WIDTH": "wide",
    "LC_ALL": "xx_YY.nonsense",
    "PYTHONIOENCODING": "ascii",
    "PYTHONWARNINGS": "error",
    "FORCE_COLOR": "",
    "TERM": "dumb",
    "TORCH_LOGS": "bogus",
    "PYTORCH_JIT": "maybe",
}


@pytest.fixture
def surroundings(monkeypatch):
    """Whatever a test changes is restored."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setattr(sys, "warnoptions", sys.warnoptions.copy())
    with warnings.catch_warnings():
        yield monkeypatch


@pytest.mark.parametrize("value", ["abc", "0", "-1", "²", "", "1e3", "99999", "9" * 5000, " 80"])
def test_sizes_that_are_none_are_ignored(surroundings, value):
    os.environ |= {"COLUMNS": value, "LINES": value, "TERMINAL_WIDTH": "120"}
    inherited._ignore_settings()
    assert not {"COLUMNS", "LINES"} & os.environ.keys()
    assert os.environ["TERMINAL_WIDTH"] == "120"


def test_warnings_are_no_errors_here_nor_in_processes_of_libraries(surroundings):
    os.environ["PYTHONWARNINGS"] = "error::UserWarning"
    warnings.simplefilter("error")
    inherited._ignore_settings()
    assert "error" not in {action for action, *_ in warnings.filters}
    assert "PYTHONWARNINGS" not in os.environ


def test_semaphores_of_a_killed_process_are_not_reported():
    """By Python's resource tracker, a process that outlives the one that started it."""
    leave = """
import multiprocessing, os
from ditbench.inherited import prepare_process
prepare_process()
semaphore = multiprocessing.get_context("spawn").Semaphore()
os._exit(0)
"""
    ended = subprocess.run([sys.executable, "-c", leave], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")  # read until the tracker has ended


@pytest.mark.parametrize(
    ("encoding", "text", "expected"),
    [
        ("ascii", "FID ↓ 8.5 ±0.7 – 数 …", b"FID v 8.5 +-0.7 - ? ..."),
        ("latin-1", "8.5 ±0.7 ↑", b"8.5 \xb10.7 ^"),
        ("cp1252", "– ↓ é", b"\x96 v \xe9"),
        ("gbk", "数 é", "数 é".encode("gbk")),
        ("utf-8", "数 ↓ \udcff", "数 ↓ ".encode() + b"\xff"),
        ("ascii", "caf\udce9", b"caf\xe9"),
        ("utf-16-le", "\ud800", "?".encode("utf-16-le")),
    ],
)
def test_every_text_can_be_printed_on_every_encoding(surroundings, encoding, text, expected):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    surroundings.setattr(sys, "stdout", stream)
    surroundings.setattr(sys, "stderr", None)  # closed
    inherited.prepare_process()
    print(text, end="", flush=True)
    print("nowhere", file=sys.stderr)
    assert stream.buffer.getvalue() == expected


def test_nothing_inherited_breaks_a_command(tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.family: Nowhere\n")
    broken = tmp_path / "broken"
    broken.write_bytes(b"font.family: \xff\n")
    settings = os.environ | HOSTILE | {"MATPLOTLIBRC": str(broken)}
    options = "--block adaln-zero --model 16x1x2/2 --batch-size 8 --steps 4 --device cpu"
    for setting in ("eval.points=1", "eval.samples=20", "eval.sampling_steps=2"):
        options += f" --set {setting}"
    printed = {}
    for command in (f"run {options}", "compare results", "plot results"):
        result = subprocess.run(
            [sys.executable, "-m", "ditbench", *command.split()],
            cwd=tmp_path, env=settings, capture_output=True, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr.decode()
        printed[command.split()[0]] = result.stdout.decode("ascii"), result.stderr.decode("ascii")
    assert (tmp_path / "ditbench.png").stat().st_size > 1000
    assert "FID-20" in printed["compare"][0]
    assert printed["plot"] == ("ditbench.png\n", "")
    warning, *lines = printed["run"][1].splitlines()
    ignored = "torch cannot be imported with TORCH_LOGS, PYTORCH_JIT: ignored"
    assert warning == f"warning: {ignored}"
    assert all(line.startswith("adaln-zero seed 0  ") for line in lines)
