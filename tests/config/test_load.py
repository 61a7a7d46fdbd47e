"""The layers of a configuration, and the files that they are read from."""

import os
import re
from operator import attrgetter
from pathlib import Path

import pytest

from ditbench.config import load, presets
from ditbench.errors import DitbenchError


def test_later_layers_win(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[train]\nlr = 0.1\nbatch_size = 10\nwarmup = 0.5\n")
    settings = ("train.lr=0.2", "train.batch_size=20")
    preset = load("digits")
    config = load("digits", file, settings, {"train.lr": 0.3})
    assert config.train.lr == 0.3
    assert config.train.batch_size == 20
    assert config.train.warmup == 0.5
    assert config.train.ema_decay == preset.train.ema_decay
    assert (preset.train.lr, preset.train.batch_size) == (1e-3, 128)


MARKS = [("utf-8-sig", b"\xef\xbb\xbf"), ("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")]


@pytest.mark.parametrize(("encoding", "mark"), MARKS, ids=[name for name, _ in MARKS])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_byte_order_mark_is_not_part_of_a_file(tmp_path, encoding, mark, newline):
    text = newline.join(["[train]", "lr = 0.125", "[data]", "path = 'é'", ""])
    content = text.encode(encoding)
    (tmp_path / "mine.toml").write_bytes(content if content.startswith(mark) else mark + content)
    config = load("digits", tmp_path / "mine.toml")
    assert (config.train.lr, config.data.path) == (0.125, Path("é"))


def test_text_of_another_encoding_is_one_line(tmp_path):
    (tmp_path / "mine.toml").write_bytes("preset = 'é'".encode("latin-1"))
    with pytest.raises(DitbenchError, match="is not valid TOML") as raised:
        load("digits", tmp_path / "mine.toml")
    assert raised.value.hint == "save it as UTF-8"


def test_a_tilde_is_the_home_directory_in_every_layer(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "mine.toml"
    file.write_text("[data]\npath = '~/imgs'\n[metrics]\ninception_weights = '~/w.pth'\n")
    config = load("digits", file)
    assert config.data.path == tmp_path / "imgs"
    assert config.metrics.inception_weights == tmp_path / "w.pth"
    assert load(settings=("data.path=~/imgs",)).data.path == tmp_path / "imgs"
    assert load(overrides={"data.path": "~/imgs"}).data.path == tmp_path / "imgs"
    for literal in ("a/~", "~nobody-has-this-name/x", "./~/x"):
        assert load(overrides={"data.path": literal}).data.path == Path(literal)


@pytest.mark.parametrize("path", [".", "./", "sub/.."])
def test_a_path_without_a_name_gets_that_of_its_folder(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    found = load(overrides={"data.path": path}).data.path
    assert found.name == tmp_path.name
    assert found.samefile(tmp_path)


def test_a_path_that_is_not_utf8_is_refused():
    """TOML is UTF-8: config.toml could not record it."""
    with pytest.raises(DitbenchError, match=r"the path ca.udcff is not UTF-8") as raised:
        load(overrides={"data.path": os.fsdecode(b"ca\xff")})
    assert raised.value.hint.endswith("ln -s IT NAME")


def test_a_later_setting_of_a_key_wins():
    assert load(settings=("train.lr=1", "train.lr=2")).train.lr == 2


def test_the_preset_is_named_unless_a_file_does(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('preset = "mine"')
    assert load("digits").preset == "digits"
    assert load("digits", file).preset == "mine"


@pytest.mark.parametrize("preset", presets())
def test_every_preset_is_valid_and_named_after_its_file(preset):
    assert load(preset).preset == preset


@pytest.mark.parametrize(
    ("text", "expected"),
    [("eval.sampler=heun", "heun"), ('eval.sampler="heun"', "heun"),
     ("eval.sampler = heun ", "heun"),
     ("train.lr=3e-4", 3e-4), ("train.lr=1", 1.0), ("budget.steps=2_000", 2000),
     ("data.horizontal_flip=true", True), ("data.path=a=b", Path("a=b"))],
)  # fmt: skip
def test_a_setting_is_read_as_toml_or_as_text(text, expected):
    read = attrgetter(text.partition("=")[0].strip())(load(settings=(text,)))
    assert read == expected
    assert type(read) is type(expected)


FLOPS, SECONDS = {"budget.flops": 1e12}, {"budget.seconds": 60.0}


@pytest.mark.parametrize("settings", [(), ("budget.steps=7",), ("train.lr=1",)])
@pytest.mark.parametrize("text", ["", "[budget]", "[budget]\nsteps = 9", "[budget]\nflops = 1e9"])
def test_a_later_budget_replaces_an_earlier_one_in_another_unit(tmp_path, text, settings):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    budget = load("digits", file, settings, SECONDS).budget
    assert (budget.steps, budget.flops, budget.seconds) == (None, None, 60.0)


def test_a_file_s_budget_replaces_the_preset_s_and_gives_way_to_a_setting(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[budget]\nflops = 1e12")
    assert load("digits", file).budget.model_dump(exclude_none=True) == {"flops": 1e12}
    config = load("digits", file, ("budget.steps=50",))
    assert config.budget.model_dump(exclude_none=True) == {"steps": 50}


def test_two_budgets_in_one_layer_are_refused_and_named(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[budget]\nsteps = 9\nseconds = 9.0")
    layers = (
        lambda: load("digits", file),
        lambda: load(settings=("budget.steps=9", "budget.seconds=9")),
        lambda: load(overrides={"budget.steps": 9} | SECONDS),
    )
    for layer in layers:
        with pytest.raises(DitbenchError, match=r"budget\.steps and budget\.seconds") as caught:
            layer()
        assert "budget.flops" in caught.value.hint
        assert caught.value.exit_code == 2


def test_a_preset_s_bound_of_the_ema_is_lifted_where_blocks_differ_in_steps(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[train]\nema_decay = 0.99")
    for budget in (FLOPS, SECONDS):
        assert load(overrides=budget).train.ema_decay == 1
        assert load(settings=("train.ema_decay=0.9",), overrides=budget).train.ema_decay == 0.9
        assert load("digits", file, overrides=budget).train.ema_decay == 0.99
        # What a run writes is read back as it was.
        text = tmp_path / "config.toml"
        text.write_text(load(overrides=budget).to_toml())
        assert load("digits", text) == load(overrides=budget)
    assert load(overrides={"budget.steps": 9}).train.ema_decay == 0.999


@pytest.mark.parametrize("key", ["preset", "data.path", "eval.sampler"])
@pytest.mark.parametrize("text", ["2024", "1e3", "2024-01-01", "true", "0x10", "[1]", "inf"])
def test_a_key_of_texts_takes_what_looks_like_another_value(key, text):
    if (key, text) != ("preset", "[1]"):  # not the name of a directory
        value = attrgetter(key)(load(settings=(f"{key} = {text}",)))
        assert str(value) == text
    assert attrgetter("eval.sampler")(load(settings=('eval.sampler = "1e3"',))) == "1e3"


def test_no_message_names_a_type_of_python(tmp_path):
    file = tmp_path / "mine.toml"
    for content in ("data.path = 1.5", "options = 1", "data.path = [1]", "data.path = true"):
        file.write_text(content)
        with pytest.raises(DitbenchError) as caught:
            load(file=file)
        assert not re.search("class|pathlib|dict|None", caught.value.message)
