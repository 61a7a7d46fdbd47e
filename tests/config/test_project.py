"""`./ditbench.toml`, and what settings start from."""

from pathlib import Path

import pytest

from ditbench.config import load
from ditbench.config.derive import derive
from ditbench.config.project import find_base, nested, read_project, to_toml
from ditbench.config.schema import flatten
from ditbench.data.pictures.survey import Survey
from ditbench.errors import DitbenchError

PICTURES = Survey(
    "my animals", "folder", Path("my animals"), 500, {"cat": 200, "dog\n": 300}, 3,
    {(64, 80): 200, (100, 90): 300},
)  # fmt: skip
OWN = {"data.name": "folder", "data.path": "my animals"}


def look(_data):
    return PICTURES


def unasked(data):
    raise AssertionError(f"looks at {data}")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def project():
    path = Path("ditbench.toml")
    path.write_text(to_toml(derive(PICTURES), ["of\x1b[31m cats", "", "  and dogs"]))
    return path


def test_the_file_is_read_back_to_what_run_derives(project):
    of_file = find_base(None, None, {}, unasked)
    derived = find_base(None, None, OWN, unasked)
    assert load(base=of_file.table) == load(base=derived.table)
    project.unlink()
    without = find_base(None, None, OWN, look)
    assert load(base=without.table) == load(base=of_file.table)
    assert load(base=without.table).preset == "my-animals"
    assert of_file.origin == "settings: ./ditbench.toml"
    assert without.origin == "settings derived from 500 images of my animals"


def test_an_explicit_preset_or_file_leaves_it_unread(project):
    project.write_text("broken")
    Path("mine.toml").write_text("[train]\nlr = 1.0")
    assert find_base("cifar10", None, {}, unasked).table["preset"] == "cifar10"
    assert find_base(None, Path("mine.toml"), {}, unasked).table["preset"] == "digits"
    with pytest.raises(DitbenchError, match=r"ditbench\.toml is not valid TOML"):
        find_base(None, None, {}, unasked)


def test_the_file_may_be_given_as_a_configuration(project):
    file = project.rename("mine.toml")
    base = find_base(None, file, {}, unasked)
    config = load(file=file, base=base.table)
    file.rename("ditbench.toml")
    assert config == load(base=find_base(None, None, {}, unasked).table)


def test_other_images_leave_it_unread_and_say_so(project):
    base = find_base(None, None, {"data.name": "folder", "data.path": "others"}, look)
    assert base.origin.startswith("./ditbench.toml is not read: it is for other images; settings ")
    base = find_base(None, None, {"data.name": "digits", "data.path": None}, unasked)
    assert base.table["preset"] == "digits"
    same = {"data.name": "folder", "data.path": "./my animals/"}
    assert find_base(None, None, same, unasked).origin == "settings: ./ditbench.toml"


def test_keys_that_are_missing_are_derived(project):
    text = project.read_text()
    project.write_text("\n".join(x for x in text.splitlines() if "patch_size" not in x))
    base = find_base(None, None, {}, look)
    assert base.table["model"]["patch_size"] == nested(derive(PICTURES))["model"]["patch_size"]
    project.write_text(text.replace("\nsteps = ", "\nflops = 1e12 # "))
    assert find_base(None, None, {}, unasked).table["budget"] == {"flops": 1e12}


def test_a_preset_is_the_base_of_its_own_data_set_only():
    assert find_base(None, None, {}, unasked).table["preset"] == "digits"
    assert find_base(None, None, {"data.name": "cifar10"}, unasked).table["preset"] == "cifar10"
    assert find_base("digits", None, OWN, unasked).table["preset"] == "digits"
    assert find_base(None, None, {"data.name": "svhn"}, look).table["preset"] == "my-animals"
    Path("mine.toml").write_text("[train]\nlr = 0.5\n")
    assert find_base(None, Path("mine.toml"), OWN, look).table["preset"] == "my-animals"


def test_the_configuration_of_a_run_is_complete(tmp_path):
    run = load(overrides={**OWN, "data.digest": "0" * 64, "preset": "digits"})
    Path("config.toml").write_text(run.to_toml())
    base = find_base(None, Path("config.toml"), {}, unasked)
    assert load(file=Path("config.toml"), base=base.table) == run


def test_the_bound_of_the_ema_is_lifted_under_another_budget(project):
    base = find_base(None, None, {}, unasked).table
    assert load(base=base).train.ema_decay == 0.999
    assert load(base=base, overrides={"budget.seconds": 60.0}).train.ema_decay == 1
    project.write_text(project.read_text().replace("\nsteps = ", "\nseconds = 60.0 # "))
    chosen = find_base(None, None, {}, unasked).table
    assert load(base=chosen).train.ema_decay == 0.999


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [("schema = 2", "has schema 2, this version of ditbench reads 1", "--force"),
     ("schema = '1'", "has schema '1'", "--force"),
     ("schema = true", "has schema True", "--force"),
     ("[train]\nlrr = 1", r"^ditbench\.toml: unknown key 'train\.lrr'", "train.lr"),
     ("[train]\nlr = 'x'", r"^ditbench\.toml: train\.lr = 'x'", "train.lr"),
     ("[train]\nlr = 'x'\n[eva]\npoints = 3", r"2 problems: .*train\.lr = 'x'.*key 'eva'", "eval"),
     ("[train", "is not valid TOML", "toml.io")],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_one_message(project, text, message, hint):
    project.write_text(text)
    with pytest.raises(DitbenchError, match=message) as caught:
        read_project()
    assert hint in caught.value.hint


def test_all_problems_of_the_images_are_one_message():
    problems = (DitbenchError("a", "do b"), DitbenchError("c", "do d"))
    survey = Survey("x", "folder", Path("x"), 0, {}, 3, {}, problems=problems)
    with pytest.raises(DitbenchError, match=r"2 problems: \(1\) a; \(2\) c") as caught:
        find_base(None, None, OWN, lambda _data: survey)
    assert caught.value.hint == "do b; do d"


def test_what_is_no_path_is_refused():
    assert find_base(None, None, {"data.name": "npz"}, unasked).table["preset"] == "digits"
    for keys in ({"data.path": 1.5, "data.name": "folder"}, {"data.name": 1}):
        with pytest.raises(DitbenchError, match=r"^data\.(path|name) = "):
            find_base(None, None, keys, unasked)


def test_flat_tables():
    assert flatten({"a": 1, "b": {"c": 2, "d": {"e": 3}}}) == {"a": 1, "b.c": 2, "b.d.e": 3}
