"""Shared by all tests: one thread, a cache directory, signals, and few garbage collections."""

import gc
import os
import signal
import sys
from functools import cache
from pathlib import Path
from unittest.mock import Mock
from urllib.error import URLError

import pytest

# Models in tests are tiny: threads would make them slower. Set before torch is imported, and in the
# environment, so that processes started by tests inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
# Those are of this source, wherever they run.
SEARCH = (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", ""))
os.environ["PYTHONPATH"] = os.pathsep.join(SEARCH)
# Without a GPU, Triton kernels are interpreted; Triton reads this when it is imported.
if not Path("/dev/nvidia0").exists():
    os.environ["TRITON_INTERPRET"] = "1"


# Half of the time of collecting tests is that of the garbage collector, which finds nothing among
# what is imported and never freed.
gc.disable()
# What tests have left to it is freed before a process is forked. In the new process, the threads of
# such objects do not exist: a TCPStore would join its own, which aborts the process.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=gc.collect)


def pytest_collection_finish():
    """Let the garbage collector run, without what was imported."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)  # as few as in a process of ditbench
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    os.environ["DITBENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True, scope="session")
def _signals_arrive():
    """As in a terminal, whatever started the tests: also in the processes that they start.

    A script's background jobs ignore SIGINT. Python leaves it so, and `ditbench` does.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})


@pytest.fixture(autouse=True, scope="session")
def _no_wait_for_the_disk():
    """Nothing that a test writes has to survive a power failure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _file: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _found_once():
    """The commit of the code, by three processes, and the digits, from text: for every run."""
    with pytest.MonkeyPatch.context() as patch:
        if "torch" in sys.modules:  # imported by some test that was collected
            import sklearn.datasets

            from ditbench.runs.machine import environment

            patch.setattr(environment, "source_commit", cache(environment.source_commit))
            patch.setattr(sklearn.datasets, "load_digits", cache(sklearn.datasets.load_digits))
        yield


@pytest.fixture(autouse=True, scope="session")
def _remembered():
    """Costs of models and rows of the reference runs, which many tests need."""
    from remembered import remembering_costs, remembering_rows

    from ditbench.report.reading import results

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "read_run", remembering_rows(results.read_run))
        if "torch" in sys.modules:  # imported by some test that was collected
            from ditbench.runs.planning import plan

            patch.setattr(plan, "count", remembering_costs(plan.count))
        yield


@pytest.fixture(autouse=True, scope="session")
def _forks_differentiate():
    """Run one backward pass before torch.compile traces any.

    Some tests fork processes that train. If a trace comes first, torch assumes that the process has
    autograd threads for devices, and refuses every backward pass after a fork.
    """
    if "torch" in sys.modules:  # imported by some test that was collected
        sys.modules["torch"].ones(1, requires_grad=True).sum().backward()


@pytest.fixture(scope="session")
def cli():
    """Call `ditbench` with arguments; the result has exit_code, stdout, stderr, exception."""
    from command_line import ditbench

    return ditbench


@pytest.fixture(scope="session")
def succeed():
    """Call `ditbench` with arguments that it takes: the result, whose exit code is 0.

    Without the fixture `cli`: a test that has another one would give it to all that come later.
    """
    from command_line import ditbench

    def call(*arguments):
        result = ditbench(*arguments)
        assert result.exit_code == 0, (arguments, result.stdout, result.stderr, result.exception)
        return result

    return call


@pytest.fixture
def global_stream_untouched():
    """Fail a test that draws from the global random stream of torch, directly or not."""
    import torch

    torch.manual_seed(0)
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The place of a cache of torch that does not exist yet, and no network."""
    import torch

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    failure = Mock(side_effect=URLError("Name or service not known"))
    monkeypatch.setattr(torch.hub, "urlopen", failure)
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """The place of an empty cache of this test alone."""
    monkeypatch.setenv("DITBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def preloaded(monkeypatch):
    """Let ditbench start its processes from a server that has imported torch: in a moment."""
    from worlds import forking

    context = forking()
    monkeypatch.setattr("multiprocessing.get_context", lambda _kind=None: context)


# A run so small that a test can afford it.
TINY = {
    "model.hidden_size": 16,
    "model.depth": 2,
    "model.num_heads": 2,
    "train.batch_size": 16,
    "budget.steps": 6,
    "eval.points": 3,
    "eval.samples": 40,
    "eval.sampling_steps": 2,
    "eval.batch_size": 16,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Where runs are that tests of one file start from, each made once."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture
def make_plan(tmp_path):
    """Plan a tiny run on the CPU; keyword arguments are dotted keys with `__` for the dot."""

    def make(out=tmp_path / "results", **values):
        import torch

        from ditbench.config import load
        from ditbench.runs.planning.plan import plan_all

        tiny = TINY
        if any(key.startswith("budget__") for key in values):  # one budget only
            tiny = {key: value for key, value in TINY.items() if key != "budget.steps"}
        overrides = tiny | {key.replace("__", "."): value for key, value in values.items()}
        return plan_all([load("digits", overrides=overrides)], out, torch.device("cpu"))[0]

    return make
