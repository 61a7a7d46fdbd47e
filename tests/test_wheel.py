"""The wheel: built, checked, and used from another environment and directory than the source's."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
MOST_BYTES = 12_000_000  # of classifiers 5.4 million; of runs 2.9, with the whole list 4.7
REPLACED = ("pilot/cifar10-ddpm", "pilot/digits/")  # by runs that were made later
TINY = ("--block", "adaln,adaln-zero", "--steps", "4", "--model", "16x1x2/2", "--batch-size", "16",
        "--device", "cpu", "--set", "eval.points=1", "--set", "eval.samples=40",
        "--set", "eval.sampling_steps=2")  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    for package in ("build", "twine"):
        pytest.importorskip(package, reason=f"pip install {package}")
    place = tmp_path_factory.mktemp("dist")
    built = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", place, ROOT],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "No matching distribution found for hatchling" in built.stdout + built.stderr:
        pytest.skip("hatchling cannot be downloaded")
    assert built.returncode == 0, built.stdout + built.stderr
    (file,) = place.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def ditbench(wheel, tmp_path_factory):
    """Call the command of a fresh environment that has the wheel, in a directory of its own.

    Its dependencies are those of this environment: torch alone would take minutes.
    """
    place = tmp_path_factory.mktemp("elsewhere")
    environment = place / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", wheel], check=True)
    # Its .pth files are not read: ditbench itself, installed for development, is not found there.
    (packages,) = environment.glob("lib/python3*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    (place / "work").mkdir()
    variables = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}

    def call(*arguments, command="ditbench"):
        path = environment / "bin" / command
        done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False,
                              env=variables, cwd=place / "work")  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = call("-c", "import ditbench; print(ditbench.__file__)", command="python")
    assert Path(where.strip()).is_relative_to(environment)
    return call


def test_its_description_is_valid(wheel):
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", wheel], check=True)


def test_it_is_small_and_has_what_is_needed(wheel):
    assert wheel.stat().st_size < MOST_BYTES
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    assert {name.split("/")[0] for name in names} == {"ditbench", wheel.name.rsplit("-py3")[0]
                                                      + ".dist-info"}  # fmt: skip
    assert "ditbench/py.typed" in names
    source = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True,
                            check=True).stdout.splitlines()  # fmt: skip
    wanted = {name for name in source if name.startswith("ditbench/")}
    reference = [name.partition("results/reference/")[2] for name in source]
    runs = {name for name in reference if name and not name.endswith(".png")}
    wanted |= {f"ditbench/reference/{name}" for name in runs if not name.startswith(REPLACED)}
    assert wanted <= set(names)


def test_every_run_that_is_shown_by_default_has_its_last_grid(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    grids = [name for name in names if name.endswith(".png")]
    runs = {name.removesuffix("result.json") for name in names if name.endswith("/result.json")}
    for run in runs:
        source = ROOT / run.replace("ditbench/reference", "results/reference", 1)
        kept = [Path(name).name for name in grids if name.startswith(run)]
        last = max((path.name for path in source.glob("samples/*.png")), default=None)
        shown = run.startswith("ditbench/reference/digits/")
        assert kept == ([last] if shown and last else [])


def test_its_addresses_are_those_of_the_source(wheel):
    with zipfile.ZipFile(wheel) as file:
        metadata = PathDistribution(
            zipfile.Path(file, f"{wheel.name.rsplit('-py3')[0]}.dist-info/")
        ).metadata
    assert metadata["Name"] == "ditbench"
    assert metadata.get_all("Project-URL") == ["Paper, https://arxiv.org/abs/2212.09748"]


def test_it_runs_elsewhere(ditbench):
    reference = ditbench("compare", "--format", "csv")
    assert "adaln-zero" in reference
    assert "adaln-zero, seed 0: FID-40" in ditbench("run", *TINY)
    own = ditbench("compare", "--format", "csv")
    assert own != reference
    assert "adaln-zero" in own
