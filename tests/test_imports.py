"""What is imported when, since torch takes seconds; and that everything can be."""

import subprocess
import sys
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import grimp
import pytest

import ditbench

REFERENCE = Path(__file__).parents[1] / "results" / "reference" / "digits"
HEAVY = {"torch", "pandas", "numpy", "scipy", "matplotlib", "pydantic", "rich"}
CASES = {
    "the package": ("import ditbench; assert 'compare' in dir(ditbench)", HEAVY),
    "the command line": ("from ditbench.cli.app import app; assert app", HEAVY - {"rich"}),
    "a comparison of runs": (
        "import ditbench\n"
        f"runs = ditbench.load_results({str(REFERENCE)!r})\n"
        "runs = runs[runs['block'].isin(['in-context', 'adaln', 'adaln-zero'])]\n"
        "assert ditbench.compare(runs, target_fid=20).verdict.winner == 'adaln-zero'",
        {"torch", "matplotlib", "sklearn", "scipy.stats"},
    ),
    "reading, comparing and tables": (
        "import ditbench.report.reading.results, ditbench.report.statistics.compare\n"
        "import ditbench.report.tables.render",
        {"torch", "pandas", "matplotlib", "rich", "scipy"},
    ),
    "a table and a figure": (
        "from ditbench.report.reading.results import load_results\n"
        "from ditbench.report.statistics.compare import compare\n"
        "from ditbench.report.tables.comparisons import render_comparisons\n"
        "from ditbench.report.figures.curve import curve_figure\n"
        "from ditbench.report.figures.save import save_figure\n"
        f"frame = load_results({str(REFERENCE)!r}, 'adaln,adaln-zero')\n"
        "render_comparisons([compare(frame)], 'md')\n"
        "save_figure(lambda: curve_figure(frame), 'figure.png')",
        {"torch", "matplotlib.pyplot"},
    ),
    "refusing what is no run, or no GPUs": (
        "from ditbench.cli.app import app\n"
        "for command in ('export x -o x.safetensors', 'sample x', 'sample x --export y',\n"
        "                'eval x', 'reproduce x', 'show x',\n"
        f"                'eval {REFERENCE}/adaln --gpus 2 --device cuda:1'):\n"
        "    try:\n"
        "        app(command.split())\n"
        "    except SystemExit as error:\n"
        "        assert error.code == 2, command",
        {"torch"},
    ),
    "names of data sets": (
        "from ditbench.data import SOURCES\n"
        "assert [*SOURCES] == ['digits', 'cifar10', 'fashion-mnist', 'folder', 'npz', 'latents']",
        {"torch", "numpy", "PIL"},
    ),
    "names of features": (
        "from ditbench.metrics import extractor_names\n"
        "assert len(extractor_names()) == 11",
        {"torch", "numpy"},
    ),
    "names of objectives": ("from ditbench.objectives import OBJECTIVES; assert OBJECTIVES",
                            {"torch", "numpy"}),
    "names of blocks": ("from ditbench.models.registry import block_names as f; assert f()",
                        {"torch"}),
    "names of blocks in files, which are not executed": (
        "from ditbench.plugins.lookup import expand_all\n"
        "open('mine.py', 'w').write('raise SystemExit(1)')\n"
        "assert expand_all(['mine.py:Mine']) == ['Mine']",
        {"torch"},
    ),
    "features and where their weights are": (
        "from ditbench.metrics import extractor_class, extractor_names\n"
        "assert [extractor_class(name).files() for name in extractor_names()]\n"
        "import ditbench.metrics.features.classifiers, ditbench.metrics.real",
        {"torchmetrics", "torchvision", "torch_fidelity"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_only_what_is_needed_is_imported(case, tmp_path):
    program, heavy = CASES[case]
    program += f"\nimport sys; found = {heavy!r} & set(sys.modules); assert not found, found"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)


@pytest.mark.parametrize("module", [m.name for m in walk_packages(ditbench.__path__, "ditbench.")])
def test_every_module_can_be_imported(module):
    """Types are checked without running: only an import finds a name that exists for types only."""
    if module.startswith("ditbench.kernels."):
        pytest.importorskip("triton")
    import_module(module)


def test_no_imports_form_a_circle():
    """Those within functions, and those for types only, included."""
    graph = grimp.build_graph("ditbench", cache_dir=None)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    assert "ditbench.cli.output.printing" in imports["ditbench.cli.app"]
    TopologicalSorter(imports).prepare()  # a CycleError names the circle
