from pathlib import Path

import pytest

from ditbench.cli.run_options import Training
from ditbench.data import load_dataset, loader_of
from ditbench.errors import EXIT_USAGE, DitbenchError


def test_unknown_name_offers_the_nearest():
    with pytest.raises(DitbenchError, match="unknown data set 'digit'") as caught:
        load_dataset("digit")
    assert caught.value.hint == "did you mean digits?"
    assert caught.value.exit_code == EXIT_USAGE


@pytest.mark.parametrize("name", ["folder", "npz"])
def test_files_of_your_own_need_a_path(name):
    with pytest.raises(DitbenchError, match=f"'{name}' needs a path") as caught:
        load_dataset(name)
    assert "--data PATH" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("path", "name"),
    [("a.npz", "npz"), ("A.NPZ", "npz"), ("a.zip", "folder"), ("npz", "folder"), ("a", "folder")],
)
def test_the_suffix_of_a_path_selects_the_loader(path, name):
    assert loader_of(Path(path)) == name
    overrides = Training(data=Path(path)).overrides()
    assert (overrides["data.name"], overrides["data.path"]) == (name, Path(path))


def test_digits_take_no_path():
    with pytest.raises(DitbenchError, match="takes no path, got elsewhere") as caught:
        load_dataset("digits", Path("elsewhere"))
    assert "data.name=folder" in str(caught.value.hint)
