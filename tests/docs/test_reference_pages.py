"""The pages of docs/reference are what the code generates."""

import runpy
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
PAGES = runpy.run_path(str(REFERENCE / "generate.py"))["PAGES"]


@pytest.mark.parametrize("name", PAGES)
def test_the_committed_page_is_the_generated_one(name):
    committed = (REFERENCE / name).read_text("utf-8")
    assert committed == PAGES[name](), "run python docs/reference/generate.py"
