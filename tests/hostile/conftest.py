"""The command line in this process, a good run to damage, and a check for leftover files."""

import shutil
from pathlib import Path

import pytest
from command_line import TINY, ditbench
from contract import assert_refused, in_time, skipped_lines, tree
from run_copies import write_copy

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


@pytest.fixture(scope="session")
def cli():
    """Call `ditbench` with arguments; a call that takes too long fails."""

    def call(*arguments):
        with in_time():
            return ditbench(*arguments)

    return call


@pytest.fixture
def refused(cli, tmp_path, monkeypatch):
    """Call `ditbench` with bad input: it must refuse, and no file may be changed."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, code=2, parts=()):
        before = tree(tmp_path)
        assert_refused(cli(*arguments), code, *parts)
        assert tree(tmp_path) == before

    return call


@pytest.fixture(scope="session")
def trained(succeed, tmp_path_factory):
    """A run with its checkpoint: read only."""
    out = tmp_path_factory.mktemp("trained")
    succeed("run", "--block", "adaln-zero", *TINY, "--steps", 6, "--quiet", "--out", out)
    return next(out.glob("digits/adaln-zero/*"))


@pytest.fixture
def one_run(trained, tmp_path):
    """A copy of that run, to be damaged."""
    return Path(shutil.copytree(trained, tmp_path / trained.name))


@pytest.fixture(scope="session")
def reference():
    """A committed run without a checkpoint: read only."""
    return min(REFERENCE.glob("pilot/digits/adaln/seed0-*"))


@pytest.fixture(scope="session")
def pair(reference, tmp_path_factory, cli):
    """A good run, and the table of it: read only."""
    results = tmp_path_factory.mktemp("pair") / "results"
    write_copy(reference, results, "kept", 0)
    table = cli("compare", results, "--format", "csv").stdout
    assert table.count("\n") == 2
    return results, table


@pytest.fixture
def check_damaged(cli, pair, reference, tmp_path):
    """Add a run to the good one, damage it, and see that it is named and nothing else changes."""

    def check(make, damage, reason):
        kept, expected = pair
        results = shutil.copytree(kept, tmp_path / "results")
        run = make(reference, results, "damaged", 1)
        damage(run)
        before = tree(tmp_path)
        result = cli("compare", results, "--format", "csv")
        assert (result.exit_code, result.stdout) == (0, expected), result.stderr
        (line,) = skipped_lines(result.stderr)
        assert line.startswith(f"skipped: {run}: ")
        assert reason in line
        assert tree(tmp_path) == before

    return check
