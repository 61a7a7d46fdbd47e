"""One tiny experiment for all tests to use."""

import shutil
from functools import cache
from unittest.mock import Mock

import pytest
from command_line import TINY

from ditbench.cli.commands import blocks
from ditbench.metrics.features import efficientnet
from ditbench.runs.planning import calibrate

TINY_RUN = (*TINY, "--steps", "20")


@pytest.fixture(scope="session")
def tiny():
    """Arguments of `run` that make it a second."""
    return TINY_RUN


@pytest.fixture(scope="session")
def mistake(cli):
    """Call `ditbench` with arguments that it refuses: the two lines, an error and what to do."""

    def call(*arguments, code=2):
        result = cli(*arguments)
        assert (result.exit_code, result.stdout) == (code, ""), (result.stderr, result.exception)
        error, hint = result.stderr.splitlines()
        assert error.startswith("error: ")
        assert hint.startswith("help: ")
        return error, hint

    return call


@pytest.fixture
def refused(mistake, elsewhere):
    """What is refused: it writes nothing, and both lines hold what they should."""

    def call(error, hint, *arguments):
        first, second = mistake(*arguments)
        assert error in first
        assert hint in second
        assert list(elsewhere.iterdir()) == []

    return call


@pytest.fixture(scope="session")
def experiment(tmp_path_factory, cli):
    """The output of `ditbench run --block paper --seeds 0,1`, and its results directory."""
    out = tmp_path_factory.mktemp("experiment") / "results"
    result = cli("run", "--block", "paper", "--seeds", "0,1", *TINY_RUN, "--out", out)
    return result, out


@pytest.fixture
def results(experiment):
    """The results of the experiment: read only."""
    return experiment[1]


@pytest.fixture
def one_run(results, tmp_path):
    """A copy of one run directory, to be damaged."""
    source = next(results.glob("digits/adaln-zero/seed0-*"))
    return shutil.copytree(source, tmp_path / "one" / source.relative_to(results))


@pytest.fixture
def no_training(monkeypatch):
    """A run that trains fails the test."""
    from ditbench.runs import run

    monkeypatch.setattr(run, "build_trainer", Mock(side_effect=AssertionError("it trains")))


@pytest.fixture(autouse=True)
def _brief(monkeypatch):
    """A calibration that takes no second; of every block, however busy the machine is."""
    monkeypatch.setattr(calibrate, "SECONDS", 0.02)
    monkeypatch.setattr(calibrate, "LONG_ENOUGH", 0.01)
    monkeypatch.setattr(calibrate, "MOST_SECONDS", 600)
    monkeypatch.setattr(calibrate, "BUSY", 0.0)


@pytest.fixture
def untimed(monkeypatch):
    """No calibration: every model counts as too large for a CPU."""
    monkeypatch.setattr(calibrate, "MOST_FLOPS", 0)


@pytest.fixture(autouse=True, scope="session")
def _counted_once():
    """Let `ditbench blocks`, which counts models of the paper's size, count each once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "_row", cache(blocks._row))
        yield


@pytest.fixture(autouse=True)
def _small_images(monkeypatch):
    """What EfficientNet sees in these tests: a pass takes a moment."""
    monkeypatch.setattr(efficientnet, "SIDE", 32)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty current directory."""
    path = tmp_path / "elsewhere"
    path.mkdir()
    monkeypatch.chdir(path)
    return path
