"""docs/quickstart.ipynb runs, with a smaller budget than it has."""

import os
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "quickstart.ipynb"
BUDGET = "--steps 200 --set eval.points=4"
SMALL = "--steps 4 --set eval.points=2 --set eval.samples=50 --set eval.sampling_steps=2"


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    # `!ditbench` is the script of this environment.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    text = NOTEBOOK.read_text("utf-8")
    assert text.count(BUDGET) == 1
    notebook = nbformat.reads(text.replace(BUDGET, SMALL), as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    # A command that fails in `!` raises nothing.
    assert [output.text for output in outputs if "error" in output.get("text", "")] == []
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert len(list(tmp_path.glob("results/*/*/*/result.json"))) == 4
