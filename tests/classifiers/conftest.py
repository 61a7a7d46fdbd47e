"""The scripts in docs/classifiers, imported as they import each other."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "classifiers"))


@pytest.fixture(autouse=True)
def _untouched(global_stream_untouched):
    """No test of this folder may draw from torch's global stream, and so nothing that it calls."""
