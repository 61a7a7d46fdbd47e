from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ditbench.data import dataset_names, load_dataset
from ditbench.errors import EXIT_USAGE, DitbenchError


def test_names():
    assert dataset_names() == ("digits", "folder")


def test_loads_by_name():
    assert load_dataset("digits").name == "digits"


def test_unknown_name_offers_the_nearest():
    with pytest.raises(DitbenchError, match="unknown data set 'digit'") as caught:
        load_dataset("digit")
    assert caught.value.hint == "did you mean digits?"
    assert caught.value.exit_code == EXIT_USAGE


def test_folder_needs_a_path():
    with pytest.raises(DitbenchError, match="'folder' needs a path") as caught:
        load_dataset("folder")
    assert "--data PATH" in str(caught.value.hint)


def test_digits_take_no_path():
    with pytest.raises(DitbenchError, match="takes no path, got elsewhere") as caught:
        load_dataset("digits", Path("elsewhere"))
    assert "data.name=folder" in str(caught.value.hint)


def test_importing_the_registry_imports_neither_torch_nor_numpy():
    code = "import sys, ditbench.data; sys.exit(bool({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
