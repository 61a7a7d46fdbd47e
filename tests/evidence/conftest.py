"""The script in docs/evidence, imported by its path: `run` is a common name."""

import importlib.util
import sys
from pathlib import Path

import pytest

EVIDENCE = Path(__file__).parents[2] / "docs" / "evidence"


@pytest.fixture(scope="session")
def evidence():
    specification = importlib.util.spec_from_file_location("evidence_run", EVIDENCE / "run.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules["evidence_run"] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module
