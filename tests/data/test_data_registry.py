from pathlib import Path

import pytest

from ditbench.cli.options.training import Training
from ditbench.data import loader_of


@pytest.mark.parametrize(
    ("path", "name"),
    [("a.npz", "npz"), ("A.NPZ", "npz"), ("a.zip", "folder"), ("npz", "folder"), ("a", "folder")],
)
def test_the_suffix_of_a_path_selects_the_loader(path, name):
    assert loader_of(Path(path)) == name
    overrides = Training(data=Path(path)).overrides()
    assert (overrides["data.name"], overrides["data.path"]) == (name, Path(path))
